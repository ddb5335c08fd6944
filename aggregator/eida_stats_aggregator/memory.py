"""The memory of catching up, between runs, for each service and source."""

import datetime

import msgspec

from eida_stats_aggregator.delivery.outbox import Outbox
from eida_stats_aggregator.delivery.state import LogStamp
from eida_stats_aggregator.errors import StartUnknown

_FILE = "catch-up.json"

Stamps = dict[str, LogStamp]


class Finding(msgspec.Struct, frozen=True):
    """Why a day is not sent, which holds for as long as its logs do not change."""

    logs: Stamps
    text: str


class Memory(msgspec.Struct):
    """The memory between runs, for one service and source.

    `since` is the first day that counts, `findings` is why days are not sent, and `shown` has the keys of warnings
    that were shown and still hold. `gaps` are the days without a log that were named. `not_ready` has the times at
    which days were first left for a later run.
    """

    since: datetime.date | None = None
    findings: dict[datetime.date, Finding] = {}
    not_ready: dict[datetime.date, datetime.datetime] = {}
    shown: list[str] = []
    gaps: list[datetime.date] = []

    def remember_gaps(self, gaps: list[datetime.date]) -> list[datetime.date]:
        """Keep the days without a log, and return those that no earlier run has named."""
        new = [day for day in gaps if day not in self.gaps]
        self.gaps = gaps
        return new

    def remember_not_ready(
        self, day: datetime.date, now: datetime.datetime, newest: float | None
    ) -> datetime.datetime:
        """Return since when a day is not ready: its first such run, or its last change (seconds since 1970)."""
        since = self.not_ready.setdefault(day, now)
        return since if newest is None else min(since, datetime.datetime.fromtimestamp(newest, tz=datetime.UTC))


def load_memories(outbox: Outbox) -> dict[str, Memory]:
    """Return the memories of a directory, by service and source.

    Raises:
        StartUnknown: if they cannot be read.
    """
    path = outbox.directory / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Memory])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        hint = "Remove it, and run once with --since and the first day that is missing at the service."
        raise StartUnknown(f"{path} cannot be read", hint=hint) from error


def save_memories(outbox: Outbox, memories: dict[str, Memory]) -> None:
    """Keep the memories of a directory.

    Raises:
        UnwritableDirectory: if they cannot be written.
    """
    outbox.write(outbox.directory / _FILE, msgspec.json.encode(memories))
