"""Payloads that were received, as the service lists them."""

import datetime

import msgspec

from eida_statistics.payload import Period, Source
from eida_stats_webservice.payloads.kinds import Kind


class PayloadReference(msgspec.Struct, frozen=True):
    """A payload as other answers refer to it, with some of its days."""

    payload: int
    hash: str
    source: str
    period: Period | None
    days: list[datetime.date]


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The confirmation that a payload is stored, with numbers of rows and days.

    Attributes:
        overlaps: other payloads in force that share days with it, and these days.
        supersedes: the numbers of the payloads that it has replaced.
        countries_changed: the number of rows whose country was changed before they were stored.
    """

    node: str
    payload: int
    hash: str
    rows: int
    days: int
    received_at: datetime.datetime
    source: Source = ""
    period: Period | None = None
    overlaps: list[PayloadReference] = []
    supersedes: list[int] = []
    token_valid_until: datetime.datetime | None = None
    countries_changed: int = 0


class PayloadRecord(msgspec.Struct, frozen=True):
    """A payload that was received. It is in force until it is superseded or retracted."""

    payload: int
    node: str
    kind: Kind
    received_at: datetime.datetime
    rows: int
    hash: str
    content: str
    source: str
    generated_at: str
    version: str
    origin: str
    withdrawn_at: datetime.datetime | None
    superseded_by: int | None
    period: Period | None
    days: list[datetime.date]

    def to_dict(self) -> dict[str, object]:
        """Return its fields and its state."""
        return msgspec.structs.asdict(self) | {"state": self.state}

    def covered_days(self) -> list[datetime.date]:
        """Return the days that it covers, with or without requests."""
        return self.days if self.period is None else self.period.days()

    @property
    def state(self) -> str:
        """Return `in force`, `superseded` or `retracted`."""
        if self.withdrawn_at is None:
            return "in force"
        return "retracted" if self.superseded_by is None else "superseded"


class ReceivedDays(msgspec.Struct, frozen=True):
    """Days for which a node has a payload in force.

    Attributes:
        states_period: whether this is the period of the payload, which covers days without requests, too.
    """

    node: str
    days: Period
    states_period: bool
