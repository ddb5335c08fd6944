"""The metadata in a crawl, by their type, as JSON.

`posix` describes a file, directory or link; `mseed` the content of a file; `crawl` the crawl itself. `removed`
removes a path, and all below it, in a partial crawl. Any other type may have any JSON object.
"""

import datetime
import math
import re
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from eida_statistics.archive.errors import InvalidLine
from eida_statistics.validation import explain_first

POSIX = "posix"
MSEED = "mseed"
CRAWL = "crawl"
REMOVED = "removed"

CANNOT_BE_READ = "cannot be read: "
"""How the `error` of a file begins that could not be read; any other file without a segment has none."""

PathType = Literal["file", "directory", "link"]
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999 in seconds since 1970, which both databases can store."""
MAX_CODE = 12
"""FDSN source identifiers allow eight characters for each code. The extended code of a network has four more."""
MAX_CHANNEL = 26
"""Band, source and subsource may have eight characters each."""
Seconds = Annotated[int, Meta(ge=EARLIEST, le=LATEST)]
Time = Annotated[datetime.datetime, Meta(tz=True)]
Amount = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Some file systems use all 64 bits.
Identifier = Annotated[int, Meta(ge=0)]
Code = Annotated[str, Meta(max_length=MAX_CODE)]
Channel = Annotated[str, Meta(max_length=MAX_CHANNEL)]

_CODES = ("network", "station", "location", "channel")
# One match for all codes of a segment. Four patterns in its fields take longer than all else in decoding it.
_CODE = re.compile(r"[0-9A-Za-z_-]*").fullmatch
_ALL_CODES = re.compile(r"[0-9A-Za-z_-]*(\n[0-9A-Za-z_-]*){3}").fullmatch

_Record = TypeVar("_Record", bound=msgspec.Struct)

_EXPECTED = {
    **dict.fromkeys(("atime", "ctime", "mtime"), "a time in whole seconds, of the years 1 to 9999"),
    **dict.fromkeys(("start", "end", "started", "finished"), "a time with its zone, such as 2026-11-22T02:03:33Z"),
    **dict.fromkeys(("network", "station", "location"), f"a code of up to {MAX_CODE} letters and digits"),
    "channel": f"a code of up to {MAX_CHANNEL} letters and digits",
    **dict.fromkeys(
        ("size", "inode", "uid", "gid", "dev", "nlink", "samples", "records", "bytes", "bytes_unread"),
        "a whole number, at least 0",
    ),
    "type": "file, directory or link",
    "rate": "a number, at least 0",
}


class PosixRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """The metadata of a path in the file system.

    Attributes:
        type: its type; None in crawls of other programs, which may leave it out.
        size: in bytes.
        mode: as `ls` shows it, such as `-rw-r--r--`.
        inode: the number of the inode.
        uid: the number of the owner.
        gid: the number of the group.
        atime: the last access, in seconds since 1970.
        ctime: the last change of the inode, likewise.
        mtime: the last change of the content, likewise.
        dev: the number of the device. A file is known by its device and inode, whatever names it has.
        nlink: the number of its hard links.
        mtime_ns: the last change of the content, in nanoseconds since 1970.
        target: where a link leads.
        intact: whether the target of a link exists.
        user: the login name of the owner, if the operator wants it.
        group: the name of the group, likewise.
        name_bytes: the name in hexadecimal, if its path has it with escapes.
    """

    type: PathType | None = None
    size: Amount | None = None
    mode: str | None = None
    inode: Identifier | None = None
    uid: Amount | None = None
    gid: Amount | None = None
    atime: Seconds | None = None
    ctime: Seconds | None = None
    mtime: Seconds | None = None
    dev: Identifier | None = None
    nlink: Amount | None = None
    mtime_ns: int | None = None
    target: str | None = None
    intact: bool | None = None
    user: str | None = None
    group: str | None = None
    name_bytes: str | None = None


class Segment(msgspec.Struct, gc=False):
    """Continuous samples of one stream in one file.

    Attributes:
        sid: the FDSN source identifier.
        network: the extended code.
        station: the code of the station.
        location: the code of the location; empty for `--`.
        channel: the code of the channel; three characters where the identifier allows it.
        quality: D, R, Q or M; for miniSEED 3, the version of the publication.
        rate: samples per second; 0 for logs.
        start: the time of the first sample.
        end: the time of the last sample.
        samples: the number of samples.
        records: the number of records.
        bytes: the size of its records.
    """

    sid: str
    network: Code
    station: Code
    location: Code
    channel: Channel
    quality: Annotated[str, Meta(max_length=3)]
    rate: Annotated[float, Meta(ge=0)]
    start: Time
    end: Time
    samples: Amount
    records: Amount
    bytes: Amount


class MseedRecord(msgspec.Struct, omit_defaults=True):
    """The content of a file of miniSEED.

    Attributes:
        segments: its segments, sorted by stream and start.
        bytes_unread: bytes that belong to no record.
        damaged: whether something between its records could not be read.
        misnamed: whether the name of the file names another stream or day.
        error: why the file has no segment.
    """

    segments: list[Segment] = []
    bytes_unread: Amount = 0
    damaged: bool = False
    misnamed: bool = False
    error: str | None = None


class _Content(msgspec.Struct):
    """The form in which the content of a file is written."""

    segments: list[Segment]
    bytes_unread: int
    damaged: bool
    misnamed: bool | msgspec.UnsetType


class CrawlRecord(msgspec.Struct, omit_defaults=True):
    """The crawl, in its first and in its last line. The two lines have different fields.

    Attributes:
        started: when the crawl began; first line.
        root: the directory on the node's machine; first line.
        options: the options of the command that changed the result; first line.
        version: the version of the program; first line.
        finished: when it ended; last line.
        counts: the numbers of lines by type of metadata (`posix`, …), and of paths by their type (`file`, …;
            `skipped` for a FIFO, socket or device); last line.
        unreadable: the paths of directories that could not be read; last line.
        errors: the number of files that could not be read, or are not empty and have no segment; last line.
    """

    started: Time | None = None
    root: str | None = None
    options: dict[str, str] | None = None
    version: str | None = None
    finished: Time | None = None
    counts: dict[str, Amount] | None = None
    unreadable: list[str] | None = None
    errors: Amount | None = None


_ENCODER = msgspec.json.Encoder()
_POSIX = msgspec.json.Decoder(PosixRecord)
_MSEED = msgspec.json.Decoder(MseedRecord)
_CRAWL = msgspec.json.Decoder(CrawlRecord)


def encode_record(record: PosixRecord | MseedRecord | CrawlRecord) -> bytes:
    """Return a record as JSON in UTF-8.

    Fields that are None are left out. `bytes_unread` and `damaged` are written with segments, even 0 and false.
    """
    if isinstance(record, MseedRecord) and record.error is None:
        misnamed = record.misnamed or msgspec.UNSET
        return _ENCODER.encode(_Content(record.segments, record.bytes_unread, record.damaged, misnamed))
    return _ENCODER.encode(record)


def decode_posix(json: bytes) -> PosixRecord:
    """Parse a record of type `posix`. Times may be texts of RFC 3339, as the crawler of GSKY writes them.

    Raises:
        InvalidLine: if it is not valid.
    """
    try:
        return _POSIX.decode(json)
    except msgspec.DecodeError:
        return _convert(_with_seconds(_load(json)), PosixRecord)


def decode_mseed(json: bytes) -> MseedRecord:
    """Parse a record of type `mseed`.

    Raises:
        InvalidLine: if it is not valid.
    """
    try:
        record = _MSEED.decode(json)
    except msgspec.DecodeError:
        record = _convert(_load(json), MseedRecord)
    for number, one in enumerate(record.segments):
        if not _ALL_CODES(f"{one.network}\n{one.station}\n{one.location}\n{one.channel}"):
            raise InvalidLine(_explain_codes(number, one))
    return record


def decode_crawl(json: bytes) -> CrawlRecord:
    """Parse a record of type `crawl`.

    Raises:
        InvalidLine: if it is not valid.
    """
    try:
        return _CRAWL.decode(json)
    except msgspec.DecodeError:
        return _convert(_load(json), CrawlRecord)


def _explain_codes(number: int, segment: Segment) -> str:
    """Return which code of a segment has a character that is not allowed."""
    name = next(name for name in _CODES if not _CODE(getattr(segment, name)))
    return f"segments[{number}].{name}: not {_EXPECTED[name]}"


def _load(json: bytes) -> dict[str, object]:
    try:
        found = msgspec.json.decode(json)
    except msgspec.DecodeError as error:
        raise InvalidLine("the metadata are not JSON") from error
    if not isinstance(found, dict):
        raise InvalidLine("the metadata are not a JSON object")
    return found


def _convert(found: dict[str, object], record: type[_Record]) -> _Record:
    try:
        return msgspec.convert(found, record)
    except msgspec.ValidationError as error:
        raise InvalidLine(explain_first(found, record, _EXPECTED)) from error


def _with_seconds(found: dict[str, object]) -> dict[str, object]:
    """Return metadata with times of RFC 3339 as whole seconds since 1970."""
    return {
        name: _to_seconds(value) if name in ("atime", "ctime", "mtime") and isinstance(value, str) else value
        for name, value in found.items()
    }


def _to_seconds(text: str) -> object:
    try:
        return math.floor(msgspec.convert(text, Time).timestamp())
    except msgspec.ValidationError:
        return text
