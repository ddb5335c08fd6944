"""Records in the JSON Lines of ringserver's transfer logs, which it writes with the option `-Uj`."""

import contextlib
import re
from collections.abc import Generator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eida_statistics.payload import MAX_COUNT
from eida_statistics.ringserver.events import RecordState, TransferRecord
from eida_statistics.ringserver.fields import BadField, Heading, Place, Streams, make_record
from eida_statistics.ringserver.transfer_log import NO_STREAMS, Found
from eida_statistics.validation import explain_first

BEGINNING = b'{"log_time":'
NO_JSON = "not JSON"

_Number = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
_NUMBER = "a whole number from 0 to 2^53-1"
_EXPECTED = {
    **dict.fromkeys(("bytes", "packets", "transfer_bytes"), _NUMBER),
    **dict.fromkeys(("log_time", "log_start_time", "connect_time"), "a time"),
    "transfer_direction": "TX or RX",
}


class _Stream(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="stream_id")
    bytes: _Number
    packets: _Number


class _Client(msgspec.Struct):
    ip: str
    hostname: str = ""
    user_agent: str = ""


class _Protocol(msgspec.Struct):
    name: str = "Unknown"


class _Line(msgspec.Struct):
    log_time: str
    connect_time: str
    client: _Client
    transfer_direction: Literal["TX", "RX"]
    streams: list[_Stream]
    log_start_time: str | None = None
    transfer_bytes: _Number | None = None
    transfer_protocol: _Protocol = msgspec.field(default_factory=_Protocol)


_DECODER = msgspec.json.Decoder(_Line)
_STREAMS = re.compile(rb'"streams":\[')
_WHOLE_STREAMS = re.compile(rb'(?:\{"stream_id":"(?:[^"\\]++|\\.)*","bytes":[-.eE\d]++,"packets":[-.eE\d]++\},?)*')


def read_line(data: bytes, start: int, line: int) -> Found | None:
    """Return the piece of a log that begins with a brace, or None if its line is not complete.

    A record that is cut ends where the next one begins, in the same line; its whole streams count.
    """
    line_end = data.find(b"\n", start) + 1
    if not line_end:
        return None
    record = _read_object(data[start:line_end], line)
    if record is not None:
        return _to_found(record, line_end)
    following = data.find(BEGINNING, start + 1, line_end)
    end = following if following >= 0 else line_end
    piece = data[start:end]
    record = _read_object(piece, line) or _read_cut(piece, line)
    return Found(None, end, NO_JSON) if record is None else _to_found(record, end)


def read_simple(data: bytes, start: int, line: int) -> Generator[TransferRecord, None, tuple[int, int]]:
    """Yield the records from a position on, up to a line that is no complete record. Almost all are complete.

    Args:
        data: the log.
        start: the position.
        line: the number of its line.

    Returns:
        the position behind the records, and the number of its line.
    """
    while end := data.find(b"\n", start) + 1:
        text = data[start:end]
        try:
            record = _make_record(_DECODER.decode(text), text, line)
        except (BadField, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            break
        if record.state is RecordState.CUT:
            break
        yield record
        start = end
        line += 1
    return start, line


def is_record(line: bytes) -> bool:
    """Return whether an object is the record of a transfer, even if it has faults."""
    return b'"streams":' in line


def is_access_event(line: bytes) -> bool:
    """Return whether an object is an event of an access log."""
    return b'"event":' in line and not is_record(line)


def _to_found(record: "TransferRecord | str", end: int) -> Found:
    if isinstance(record, str):
        return Found(None, end, record)
    is_empty = record.state is RecordState.CUT and not record.ids
    return Found(None, end, NO_STREAMS) if is_empty else Found(record, end)


def _read_object(text: bytes, line: int) -> "TransferRecord | str | None":
    """Return a record, or the reason why an object is none, or None if the text is no JSON."""
    try:
        return _make_record(_DECODER.decode(text), text, line)
    except BadField as error:
        return str(error)
    except msgspec.ValidationError:
        # It may be cut behind the fault.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return explain_first(msgspec.json.decode(text), _Line, _EXPECTED)
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read_cut(text: bytes, line: int) -> "TransferRecord | str | None":
    """Return a record without its end, with its whole streams, or None if it has no list of streams."""
    opened = _STREAMS.search(text)
    if opened is None:
        return None
    whole = _WHOLE_STREAMS.match(text, opened.end())
    streams = whole[0] if whole else b""
    found = _read_object(text[: opened.end()] + streams.rstrip(b",") + b"]}", line)
    return found if found is None or isinstance(found, str) else msgspec.structs.replace(found, length=len(text))


def _make_record(fields: _Line, text: bytes, line: int) -> TransferRecord:
    client = fields.client
    heading = Heading(
        fields.transfer_direction,
        client.ip,
        fields.transfer_protocol.name,
        client.user_agent,
        fields.log_time,
        fields.connect_time,
        fields.log_start_time,
    )
    streams = Streams(
        [stream.id for stream in fields.streams],
        [stream.bytes for stream in fields.streams],
        [stream.packets for stream in fields.streams],
    )
    return make_record(heading, streams, fields.transfer_bytes, text.strip(), Place(line, len(text)))
