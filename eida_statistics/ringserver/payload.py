"""The payload of a day of a ringserver, its JSON form and its hash."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import mmh3
import msgspec
from msgspec import Meta

from eida_statistics.payload import (
    Channel,
    Count,
    Country,
    Label,
    Location,
    Network,
    Period,
    Source,
    Station,
    hash_identity,
)
from eida_statistics.ringserver.events import Direction
from eida_statistics.rows import SumRow, sort_and_merge

KIND: Literal["ringserver"] = "ringserver"
LISTS = ("stats", "days", "hours", "places")
"""The lists of rows."""

# No control characters.
City = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,100}\Z")]
Geohash = Annotated[str, Meta(pattern=r"^[0-9b-hjkmnp-z]{0,12}\Z")]
_Hour = Annotated[datetime.datetime, Meta(tz=True)]

# The first byte that is hashed: a change of the hashed form needs another one. 1 and 2 are those of dataselect.
_CONTENT_VERSION = b"\x03"
_IDENTITY_VERSION = b"\x04"

# Values are checked when a row is decoded. `clients` is a sketch in hexadecimal; `records` counts stream lines.


class StatRow(msgspec.Struct, gc=False):
    """The transfers of one stream to clients in one country. The codes of other streams are empty.

    The month (its first day) is that of the payload's day.
    """

    counts: ClassVar[tuple[str, ...]] = ("bytes", "packets", "records")

    month: datetime.date
    direction: Direction
    network: Network
    station: Station
    location: Location
    channel: Channel
    country: Country
    bytes: Count
    packets: Count
    records: Count
    clients: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The fields by which rows are merged and sorted."""
        return (
            self.month,
            self.direction,
            self.network,
            self.station,
            self.location,
            self.channel,
            self.country,
        )


class DayRow(msgspec.Struct, gc=False):
    """The transfers of one network to clients in one country on the payload's day."""

    counts: ClassVar[tuple[str, ...]] = ("bytes", "packets", "records")

    day: datetime.date
    direction: Direction
    network: Network
    country: Country
    bytes: Count
    packets: Count
    records: Count
    clients: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The fields by which rows are merged and sorted."""
        return self.day, self.direction, self.network, self.country


class HourRow(msgspec.Struct, gc=False):
    """The transfers of one network to clients in one country in one hour of the payload's day, in UTC.

    Only clients that got bytes in this hour count.
    """

    counts: ClassVar[tuple[str, ...]] = ("bytes", "packets")

    hour: _Hour
    direction: Direction
    network: Network
    country: Country
    bytes: Count
    packets: Count
    clients: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The fields by which rows are merged and sorted."""
        return self.hour, self.direction, self.network, self.country


class PlaceRow(msgspec.Struct, gc=False):
    """The transfers to clients in one place on the payload's day."""

    counts: ClassVar[tuple[str, ...]] = ("bytes", "packets")

    day: datetime.date
    direction: Direction
    country: Country
    city: City
    geohash: Geohash
    bytes: Count
    packets: Count
    clients: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The fields by which rows are merged and sorted."""
        return self.day, self.direction, self.country, self.city, self.geohash


class DayPayload(msgspec.Struct, kw_only=True):
    """The transfers of one server of a node on one UTC day. A quiet day has no rows.

    Each list is in the order of its keys, and has no key twice. Streams add up to days, and so do hours. Places
    add up to days over networks. The clients of a sum are united.
    """

    kind: Literal["ringserver"]
    source: Source = ""
    period: Period
    generated_at: Label = ""
    version: Label = ""
    stats: list[StatRow]
    days: list[DayRow]
    hours: list[HourRow]
    places: list[PlaceRow]

    @property
    def lists(self) -> Mapping[str, Sequence[SumRow]]:
        """The lists of rows by their names."""
        return {name: getattr(self, name) for name in LISTS}

    def to_json(self) -> bytes:
        """Write the wire format, without white space, no field left out."""
        return msgspec.json.encode(self)

    def content(self) -> str:
        """Return the hash of the rows alone, in the manner of `eida_statistics.payload.hash_content`."""
        hasher = mmh3.mmh3_x64_128(_CONTENT_VERSION)
        hasher.update(msgspec.json.encode(list(self.lists.values())))
        return hasher.digest().hex()

    def hash(self) -> str:
        """Return the hash of the rows, the source and the day: two quiet days differ."""
        return hash_identity(self.content(), self.source, self.period, _IDENTITY_VERSION)


def merge_payloads(payloads: Sequence[DayPayload]) -> DayPayload:
    """Return the sum of payloads of one source and day. The time and the version are those of the last one.

    Raises:
        ValueError: if they are not of the same source and day.
    """
    if len({(payload.source, payload.period) for payload in payloads}) != 1:
        raise ValueError("not payloads of one source and day")
    rows = {name: sort_and_merge([row for one in payloads for row in one.lists[name]]) for name in LISTS}
    return msgspec.structs.replace(payloads[-1], **rows)
