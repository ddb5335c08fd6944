"""The payload: monthly aggregates of requests, its JSON form and its hash."""

import datetime
import re
from typing import Annotated, ClassVar

import mmh3
import msgspec
from msgspec import Meta

# FDSN source identifiers 1.0: network, station and location have up to 8 characters; channel is band, source
# and subsource, each of any length.
MAX_CODE_CHARACTERS = 8
MAX_CHANNEL_CHARACTERS = 16
Network = Annotated[str, Meta(pattern=rf"^[0-9A-Za-z_-]{{0,{MAX_CODE_CHARACTERS}}}\Z")]
Station = Annotated[str, Meta(pattern=rf"^[0-9A-Za-z_-]{{0,{MAX_CODE_CHARACTERS}}}\Z")]
Location = Annotated[str, Meta(pattern=rf"^[0-9A-Za-z _-]{{0,{MAX_CODE_CHARACTERS}}}\Z")]
Channel = Annotated[str, Meta(pattern=rf"^[0-9A-Za-z_-]{{0,{MAX_CHANNEL_CHARACTERS}}}\Z")]
Country = Annotated[str, Meta(pattern=r"^([0-9A-Z]{2})?\Z")]
_COUNTRY = re.compile(r"[0-9A-Za-z]{2}", re.ASCII)
EARLIEST_DAY = datetime.date(1990, 1, 1)
# The largest integer that all JSON parsers keep exactly; a thousand of them fit the database's bigint.
MAX_COUNT = 2**53 - 1
COUNTS = ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]

MAX_EXCLUSIONS = 100
MAX_EXCLUSION_CHARACTERS = 1000
_Exclusion = Annotated[str, Meta(max_length=MAX_EXCLUSION_CHARACTERS)]

# When a payload was made, or by which version.
Label = Annotated[str, Meta(pattern=r"^[ -~]{0,64}\Z")]

# An empty source is the whole node; otherwise it is the name of one of its servers.
_SOURCE = r"[0-9A-Za-z.-]{0,64}"
Source = Annotated[str, Meta(pattern=rf"^{_SOURCE}\Z")]
SOURCE_RULE = "up to 64 letters, digits, dots and hyphens"

# The first byte that is hashed: a change of the hashed form needs another one.
_CONTENT_VERSION = b"\x01"
_IDENTITY_VERSION = b"\x02"

# The key of an aggregate: month (its first day), network, station, location, channel, country. A plain
# tuple: the garbage collector skips it, and a payload has a hundred thousand.
Key = tuple[datetime.date, str, str, str, str, str]


def is_source(text: str) -> bool:
    """Return whether a text can be a source."""
    return re.fullmatch(_SOURCE, text) is not None


class Row(msgspec.Struct, gc=False):
    """The requests of one month for one stream from one country; `clients` is a sketch in hexadecimal.

    Decoding it checks types only, since that takes a seventh of the time; see `CheckedRow`.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS

    month: datetime.date
    network: str
    station: str
    location: str
    channel: str
    country: str
    bytes: int
    nb_requests: int
    nb_successful_requests: int
    nb_unsuccessful_requests: int
    clients: str

    @property
    def key(self) -> Key:
        """The fields by which rows are merged and sorted."""
        return (self.month, self.network, self.station, self.location, self.channel, self.country)


class CheckedRow(Row, gc=False):
    """A row whose values are checked during decoding."""

    network: Network
    station: Station
    location: Location
    channel: Channel
    country: Country
    bytes: Count
    nb_requests: Count
    nb_successful_requests: Count
    nb_unsuccessful_requests: Count


class Exclusions(msgspec.Struct):
    """The clients that a node has excluded from its statistics, by class or by patterns of their names."""

    client_classes: Annotated[list[_Exclusion], Meta(max_length=MAX_EXCLUSIONS)] = []
    client_patterns: Annotated[list[_Exclusion], Meta(max_length=MAX_EXCLUSIONS)] = []


class Period(msgspec.Struct, frozen=True, order=True):
    """The UTC days from `start` to `end`, both included."""

    start: datetime.date
    end: datetime.date

    def __str__(self) -> str:
        return str(self.start) if self.is_day else f"{self.start} to {self.end}"

    @property
    def is_day(self) -> bool:
        """Whether it is one day."""
        return self.start == self.end

    def days(self) -> list[datetime.date]:
        """Return all its days, in order."""
        length = (self.end - self.start).days + 1
        return [self.start + datetime.timedelta(days=number) for number in range(length)]

    def contains(self, other: "Period") -> bool:
        """Return whether all days of another period are among its own."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: "Period") -> bool:
        """Return whether it shares a day with another period."""
        return self.start <= other.end and other.start <= self.end


class Payload(msgspec.Struct, kw_only=True):
    """A payload: rows in the order of their keys, no key twice, and the days of their requests.

    `source` and `period` say which logs it stands for. The days of the requests can differ from the period: a
    log may hold a request of the day before, and a quiet day has none. Payloads of deployed aggregators have
    neither. `excluded` is there only if something was left out: federated numbers must agree.
    """

    generated_at: str
    version: str
    days_coverage: list[datetime.date]
    aggregation_score: int
    stats: list[Row]
    excluded: Exclusions | None = None
    source: Source = ""
    period: Period | None = None

    def encode_rows(self) -> bytes:
        """Write the rows as the wire format has them: in order, without white space, no field left out."""
        return msgspec.json.encode(self.stats)

    def to_json(self, rows_json: bytes | None = None) -> bytes:
        """Write the wire format."""
        fields = {field: getattr(self, field) for field in self.__struct_fields__}
        for optional in ("excluded", "source", "period"):
            if not fields[optional]:
                del fields[optional]
        return msgspec.json.encode(fields | {"stats": msgspec.Raw(rows_json or self.encode_rows())})

    def content(self) -> str:
        """Return the hash of the statistics alone; see `hash_content`."""
        return hash_content(self.days_coverage, self.encode_rows())

    def hash(self) -> str:
        """Return the hash of the statistics, the source and the period; see `hash_identity`."""
        return hash_identity(self.content(), self.source, self.period)


def hash_content(days: list[datetime.date], rows_json: bytes) -> str:
    """Return the hash of statistics (128-bit MurmurHash3 x64, 32 hexadecimal digits).

    It is taken over a versioned canonical form: sorted days, sorted rows, fixed order of fields, sketches
    re-encoded. How the JSON was spaced, ordered or compressed, when it was generated and by which version are
    not in it, so the same statistics sent twice are the same.
    """
    hasher = ContentHasher(days)
    hasher.add(memoryview(rows_json)[1:-1])
    return hasher.hash()


class ContentHasher:
    """Computes a `hash_content` from the JSON of the rows, piece by piece, without the brackets of the list."""

    def __init__(self, days: list[datetime.date]) -> None:
        self._hasher = mmh3.mmh3_x64_128(_CONTENT_VERSION)
        self._hasher.update(msgspec.json.encode(days))
        self._hasher.update(b"[")

    def add(self, piece: bytes | bytearray | memoryview) -> None:
        """Add a piece of the JSON."""
        self._hasher.update(piece)

    def hash(self) -> str:
        """Return the hash of all that was added; nothing can be added after that."""
        self._hasher.update(b"]")
        return self._hasher.digest().hex()


def hash_identity(content: str, source: str, period: Period | None, version: bytes = _IDENTITY_VERSION) -> str:
    """Return the hash by which a node's payloads are distinguished, in the form of `hash_content`.

    Without a period it is the hash of the content, as it always was. With one, it covers the source and the period
    as well: two servers may have equal statistics, and so may two quiet days. Each kind of payload has its own
    `version`, one byte.
    """
    if period is None:
        return content
    hasher = mmh3.mmh3_x64_128(version)
    hasher.update(msgspec.json.encode([source, period.start, period.end, content]))
    return hasher.digest().hex()


def normalize_country(text: str) -> str:
    """Return the code of a country in capitals, empty if the text is not two ASCII letters or digits.

    Such a text is a country that is not known: a name, a code of three letters, or a sign for none.
    """
    # It is tested before it is put into capitals, since some single letters become two.
    return text.upper() if _COUNTRY.fullmatch(text) else ""
