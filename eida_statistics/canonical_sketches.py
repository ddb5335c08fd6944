"""Check the form of many sketches at once."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll

# Bounds the memory: 10 kB for each sketch in full form.
_AT_ONCE = 4096


def are_canonical(texts: Iterable[str]) -> bool:
    r"""Return whether all of many sketches, in hexadecimal and small letters, are what `hll.encode` would write.

    It is a quick check of a hundred thousand sketches; `hll.canonicalize` finds the ones that are not.
    """
    by_length: dict[int, list[str]] = {}
    for text in texts:
        by_length.setdefault(len(text), []).append(text)
    return all(
        _are_canonical(group[start : start + _AT_ONCE])
        for group in by_length.values()
        for start in range(0, len(group), _AT_ONCE)
    )


def _are_canonical(texts: list[str]) -> bool:
    """`are_canonical` for texts of one length."""
    joined = "".join(texts)
    if not joined.isascii() or joined.count("\\x") != len(texts):
        return False
    characters = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(len(texts), -1)
    if not (characters[:, :2] == np.frombuffer(b"\\x", dtype=np.uint8)).all():
        return False
    digits = characters[:, 2:].tobytes()
    try:
        packed = bytes.fromhex(digits.decode())
    except ValueError:
        return False
    # bytes.fromhex skips white space, which would make it shorter.
    if 2 * len(packed) != len(digits) or len(packed) < hll.HEADER_SIZE * len(texts):
        return False
    sketches = np.frombuffer(packed, dtype=np.uint8).reshape(len(texts), -1)
    # The parameters are the same for all; the rest of the header is the kind.
    if not (sketches[:, 1 : hll.HEADER_SIZE] == np.frombuffer(hll.PARAMETERS, dtype=np.uint8)).all():
        return False
    # Not with numpy.unique, whose first call imports numpy.ma.
    return all(
        _is_canonical(first - (hll.VERSION << 4), sketches[sketches[:, 0] == first, hll.HEADER_SIZE :])
        for first in np.flatnonzero(np.bincount(sketches[:, 0])).tolist()
    )


def _is_canonical(kind: int, content: NDArray[np.uint8]) -> bool:
    """Return whether sketches of one kind and length, without their headers, are in canonical form."""
    size = content.shape[1]
    content = np.ascontiguousarray(content)
    if kind == hll.EMPTY_KIND:
        return not size
    if kind == hll.EXPLICIT_KIND and size % 8 == 0 and 8 <= size <= 8 * hll.EXPLICIT_MAX:
        elements = content.view(">i8")
        return bool(np.all(elements[:, 1:] > elements[:, :-1]))
    if kind == hll.SPARSE_KIND and size % 2 == 0 and size <= 2 * hll.SPARSE_MAX:
        words = content.reshape(-1).view(">u2").reshape(len(content), -1)
        index = (words >> hll.REGWIDTH).astype(np.int32)
        return bool(np.all(words & hll.MAX_REGISTER) and np.all(np.diff(index, axis=1) > 0))
    if kind == hll.FULL_KIND and size == hll.FULL_SIZE - hll.HEADER_SIZE:
        bits = np.unpackbits(content, axis=1).reshape(-1, hll.REGISTERS, hll.REGWIDTH)
        return bool(np.all(bits.any(axis=2).sum(axis=1) > hll.SPARSE_MAX))
    return False
