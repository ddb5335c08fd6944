"""Sketches that grow while requests are counted."""

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll

# A set of as many hashes takes several times what the registers do.
_FOLD_ABOVE = 512


class SketchBuilder:
    """A sketch that grows by one hash at a time.

    `hashes` takes signed 64-bit hashes. `fold` bounds the memory: it turns many of them into `registers`.
    """

    __slots__ = ("hashes", "registers")

    def __init__(self) -> None:
        self.hashes: set[int] = set()
        self.registers: NDArray[np.uint8] | None = None

    def merge(self, *others: "SketchBuilder") -> None:
        """Add the hashes of other builders."""
        self.hashes.update(*[other.hashes for other in others])
        for other in others:
            if other.registers is not None:
                mine = self.registers
                self.registers = other.registers if mine is None else np.maximum(mine, other.registers)

    def fold(self) -> None:
        """Turn hashes into registers if they are too many for an explicit sketch."""
        if len(self.hashes) > _FOLD_ABOVE or (self.registers is not None and self.hashes):
            self.registers = self._fold_registers()
            self.hashes = set()

    def to_bytes(self) -> bytes:
        """Return the sketch of all that was added."""
        if self.registers is None:
            return hll.encode(self.hashes)
        return hll.encode_registers(self._fold_registers())

    def _fold_registers(self) -> NDArray[np.uint8]:
        more = hll.compute_registers(np.fromiter(self.hashes, dtype=np.int64, count=len(self.hashes)))
        return more if self.registers is None else np.maximum(self.registers, more)
