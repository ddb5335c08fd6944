"""Decide whether a day is sent, by its records and those that were delivered before."""

from enum import Enum, auto

from eida_statistics.ringserver.collection import Digests
from eida_stats_aggregator.delivery.state import Record


class Step(Enum):
    """The action of a run for a day."""

    SEND = auto()
    """It was never delivered."""
    CORRECT = auto()
    """It has grown, or the operator wants it replaced."""
    RESEND = auto()
    """Its file waits, or is held: the service may have no other statistics any more."""
    SKIP = auto()
    """It was delivered, and has no other records."""
    KEEP = auto()
    """It was delivered with more records: old logs were deleted."""
    REFUSE = auto()
    """Records are missing, and others are new."""
    REFUSE_KEY = auto()
    """It was delivered under another key, which makes all records look new."""

    @property
    def sends(self) -> bool:
        """Whether the day is sent."""
        return self in (Step.SEND, Step.CORRECT, Step.RESEND)


def choose_step(
    record: Record | None, delivered: Digests, found: Digests, *, has_same_key: bool, replaces: bool
) -> Step:
    """Return the action for a day.

    Args:
        record: the record of its file at the service, None if it is not to go there.
        delivered: the records in its file.
        found: the records in the logs.
        has_same_key: whether both are made with the same key.
        replaces: whether the operator wants the day replaced.
    """
    if record is None or replaces:
        return Step.SEND if record is None else Step.CORRECT
    if not has_same_key:
        return Step.REFUSE_KEY
    is_missing = any(found.get(digest, 0) < count for digest, count in delivered.items())
    is_new = any(delivered.get(digest, 0) < count for digest, count in found.items())
    if is_new:
        return Step.REFUSE if is_missing else Step.CORRECT
    if record.waits or record.state == "held":
        return Step.RESEND
    return Step.KEEP if is_missing else Step.SKIP
