"""Raw logs, and the receipt for them."""

import datetime
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from eida_statistics.payload import Source
from eida_statistics.ringserver.windows import LogName


class RawLog(NamedTuple):
    """A transfer log.

    Attributes:
        title: its name in messages.
        source: the server that wrote it.
        name: the parsed name of its file, if it has one.
        chunks: its content, not compressed.
    """

    title: str
    source: str
    name: LogName | None
    chunks: Iterable[bytes]


class Days(msgspec.Struct, frozen=True):
    """Days from one to another, both included. None is without a limit."""

    since: datetime.date | None = None
    until: datetime.date | None = None

    def contains(self, day: datetime.date) -> bool:
        """Return whether a day is one of them."""
        return (self.since or day) <= day <= (self.until or day)


class Replacement(msgspec.Struct, frozen=True):
    """The days that logs replace: those that their file names cover, or stated ones."""

    stated: Days | None = None


class StoredDay(msgspec.Struct, frozen=True):
    """The payload of a source and day, and the number of the one that it supersedes, if any."""

    payload: int
    source: Source
    day: datetime.date
    supersedes: int | None = None


class DamagedDay(msgspec.Struct, frozen=True):
    """A day of a source that would be quiet, if its log were not damaged."""

    source: Source
    day: datetime.date


class RejectedPiece(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a log that does not count: the number of its line, and the reason, which never quotes it."""

    line: int
    reason: str
    log: str = ""


class Rejected(msgspec.Struct, frozen=True):
    """The number of pieces of logs that do not count, and the first five."""

    number: int
    first: list[RejectedPiece]


class RawReceipt(msgspec.Struct, frozen=True):
    """The confirmation that raw logs are stored.

    Attributes:
        records: the records that are new and count.
        streams: their stream lines.
        bytes: those of all streams.
        other: bytes of streams whose ids name no stream.
        duplicates: records that counted before.
        ignored: records of a direction that does not count.
        cut: records without an end, of which the complete lines count.
        differing: records with another total than their lines, which count.
        forged: records whose client id contains parts of records.
        unfinished: logs that end within a record, which does not count yet.
        payloads: the payloads that are new.
        retracted: the numbers of those that were replaced by none.
        damaged: the days that have no payload, because their logs are damaged.
    """

    node: str
    records: int
    streams: int
    bytes: int
    other: int
    rejected: Rejected
    duplicates: int
    ignored: int
    cut: int
    differing: int
    forged: int
    unfinished: int
    payloads: list[StoredDay] = []
    retracted: list[int] = []
    damaged: list[DamagedDay] = []
