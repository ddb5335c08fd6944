"""Faults in transfer logs that may change the numbers, and the warnings about them."""

from collections.abc import Sequence
from typing import Self

import msgspec

from eida_statistics.ringserver.events import RecordState, TransferRecord
from eida_stats_aggregator.notices import Notice, are_many_rejected


class RecordFaults(msgspec.Struct):
    """The number of records that have a fault and count.

    Attributes:
        cut: records without an end; their whole lines count.
        differing: records with another total than that of their lines, which count.
        forged: records whose client id contains parts of records.
    """

    cut: int = 0
    differing: int = 0
    forged: int = 0

    def add(self, record: TransferRecord) -> None:
        """Count a record."""
        self.cut += record.state is RecordState.CUT
        self.differing += record.state is RecordState.DIFFERING
        self.forged += record.holds_forgery

    def __iadd__(self, other: Self) -> Self:
        self.cut += other.cut
        self.differing += other.differing
        self.forged += other.forged
        return self

    def make_notices(self) -> list[Notice]:
        """Return the warnings about these records."""
        damaged = [
            f"{text}: {number:,}"
            for text, number in (
                ("records without an end, of which the complete lines were counted", self.cut),
                ("records with another total than their lines, which were counted", self.differing),
            )
            if number
        ]
        notices = [Notice("damaged", "; ".join(damaged))] if damaged else []
        if self.forged:
            text = f"records with parts of records in the client id, perhaps to forge some: {self.forged:,}"
            notices.append(Notice("forged", text))
        return notices


def make_rejection_notices(names: Sequence[str], rejected: int, pieces: int) -> list[Notice]:
    """Return a warning if many pieces of logs were rejected.

    Args:
        names: the logs that have some of them.
        rejected: the number of rejected pieces.
        pieces: the number of records and of rejected pieces.
    """
    if not are_many_rejected(rejected, pieces):
        return []
    subject = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return [Notice("rejected", f"{subject}: {rejected:,} of {pieces:,} records were rejected")]
