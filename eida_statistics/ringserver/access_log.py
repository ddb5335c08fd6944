"""Records of connections in ringserver's access logs, which it writes since version 4.4.0.

An access log is JSON Lines. ringserver opens it for each line, writes the line and closes it, as `WriteAccessLog`
in `src/logging.c` of version 4.5.3 does. A `disconnect` repeats the connect time; nothing else joins the two.

A full disk cuts a line, and the next one follows in the same line. So whole objects count wherever they are in a
line, and the rest of the line is rejected. In a string, quotation marks have a backslash before them. So no client
can write the beginning of an object.
"""

import contextlib
import datetime
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from eida_statistics.caches import cache_short_texts
from eida_statistics.connections import MAX_RECORDS, Command, Connect, Disconnect, Instance, LogFile, Port, Protocol
from eida_statistics.ringserver.events import Rejection
from eida_statistics.ringserver.fields import BadField, parse_time
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.json_lines import BEGINNING, NO_JSON
from eida_statistics.validation import explain_first

MAX_LINE_BYTES = 4 << 20
"""A longer line is read in pieces of this length. ringserver writes expressions of up to 1 MiB."""
NULS = "NUL bytes"
# Earlier times are those of clocks that were not set; the service refuses them.
_EARLIEST_SECOND = int(datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC).timestamp())
_CACHED_TIMES = 1 << 12

_BRACE = ord("{")
_BEGINNINGS = re.compile(re.escape(BEGINNING))
_PADDING = b" \t\r\n\x1e\xef\xbb\xbf"
_EXPECTED = {
    **dict.fromkeys(("log_time", "connect_time"), "a time"),
    "server_port": "a whole number from 0 to 65535",
}

LoggedRecord = Connect | Disconnect | Command


class Moment(NamedTuple):
    """A time, also in seconds since 1970."""

    time: datetime.datetime
    seconds: int


class Parsed(NamedTuple):
    """The content of a text up to a position.

    Attributes:
        records: those that count. They have at most one `Command` for a session and protocol.
        rejections: the pieces that do not count.
        length: the bytes of the text that were parsed.
        lines: the line breaks in them.
    """

    records: list[LoggedRecord]
    rejections: list[Rejection]
    length: int
    lines: int


class _Client(msgspec.Struct, gc=False):
    ip: str
    server_port: Port


class _Protocol(msgspec.Struct, gc=False):
    name: str | None = None


class _Line(msgspec.Struct, gc=False):
    log_time: str
    connect_time: str
    client: _Client
    event: str
    protocol: _Protocol | None = None


# A piece of a line: its first byte, the one behind it, and its fields or the reason why it does not count. None is
# white space.
_Piece = tuple[int, int, _Line | str | None]

_DECODER = msgspec.json.Decoder(_Line)
# On an object in Latin-1, a character is a byte.
_JSON = json.JSONDecoder()
_NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class AccessLogParser:
    """Turns the text of access logs of one ringserver into records without addresses, names and user agents.

    Args:
        key: replaces addresses by hashes.
        instance: the name of the ringserver in the records.
    """

    def __init__(self, key: ClientKey, instance: Instance) -> None:
        self._key = key
        self._instance = instance

    def identify(self, text: bytes) -> LogFile | None:
        """Return the source of a log in records: the time and the keyed hash of its first whole object.

        Args:
            text: the beginning of the log.

        Returns:
            None if the text has no such object.
        """
        for start, end, found in _find_pieces(text):
            if not isinstance(found, _Line):
                continue
            try:
                time = parse_moment(found.log_time).time
            except BadField:
                continue
            return f"{time:%Y-%m-%dT%H:%M:%SZ}-{self._key.hash_line(text[start:end].strip())}"
        return None

    def parse(
        self,
        text: bytes,
        source: LogFile,
        offset: int,
        line: int,
        *,
        latest: datetime.datetime | None = None,
        limit: int = MAX_RECORDS,
    ) -> Parsed:
        """Parse the whole lines of a text.

        Args:
            text: of the log, not compressed, from an offset at which an earlier call ended.
            source: that of the log.
            offset: the position of the text in the log, in bytes.
            line: the number of its first line, from 1.
            latest: the latest time that a record can have.
            limit: the number of records after which this stops.
        """
        records: list[LoggedRecord] = []
        rejections: list[Rejection] = []
        commands: set[tuple[str, str]] = set()
        length = counted = lines = 0
        for start, end, found in _find_pieces(text):
            length = end
            if found is None:
                continue
            try:
                record = self._make_record(found, source, offset + start, latest)
            except BadField as error:
                lines += text.count(b"\n", counted, start)
                counted = start
                rejections.append(Rejection(line + lines, end - start, str(error)))
                continue
            if isinstance(record, Command):
                known = (record.session, record.protocol)
                if known in commands:
                    continue
                commands.add(known)
            if record is not None:
                records.append(record)
                if len(records) >= limit:
                    break
        lines += text.count(b"\n", counted, length)
        return Parsed(records, rejections, length, lines)

    def _make_record(
        self, fields: _Line | str, source: LogFile, position: int, latest: datetime.datetime | None
    ) -> LoggedRecord | None:
        """Return the record of an object, or None if it is ignored.

        Raises:
            BadField: if a time cannot be right, or the fields are the reason why there are none.
        """
        if isinstance(fields, str):
            raise BadField(fields)
        event, client = fields.event, fields.client
        if event not in ("connect", "disconnect", "command"):
            return None
        time = parse_moment(fields.log_time).time
        connected = parse_moment(fields.connect_time)
        if latest is not None and (time > latest or connected.time > latest):
            raise BadField("the time is in the future")
        protocol = None if fields.protocol is None else clean_protocol(fields.protocol.name)
        session = self._key.hash_session(client.ip, client.server_port, connected.seconds)
        if event == "command":
            return None if protocol is None else Command(self._instance, session, protocol)
        address = self._key.hash_address(client.ip)
        # By position: keywords take a tenth of the time.
        if event == "connect":
            return Connect(
                self._instance, source, position, connected.time, session, client.server_port, protocol, address
            )
        return Disconnect(
            self._instance, source, position, time, connected.time, session, client.server_port, protocol, address
        )


@lru_cache(_CACHED_TIMES)
def parse_moment(text: str) -> Moment:
    """Parse a time of ringserver, such as `2026-11-22T02:01:48Z`.

    Raises:
        BadField: if there is no such time, or it is before 2000.
    """
    seconds = parse_time(text)
    if seconds < _EARLIEST_SECOND:
        raise BadField("the time is before 2000")
    return Moment(datetime.datetime.fromtimestamp(seconds, datetime.UTC), seconds)


@cache_short_texts(_CACHED_TIMES)
def clean_protocol(name: str | None) -> Protocol | None:
    """Return the name of a protocol, None if ringserver does not know it."""
    if name is None or name == "Unknown":
        return None
    try:
        known: Protocol = msgspec.convert(name, Protocol)
    except msgspec.ValidationError:
        return None
    return known


def _find_pieces(text: bytes) -> Iterator[_Piece]:
    """Yield the pieces of the whole lines of a text, in their order."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start, start + MAX_LINE_BYTES) + 1
        if not end:
            if len(text) - start < MAX_LINE_BYTES:
                return
            end = start + MAX_LINE_BYTES
        try:
            fields = _DECODER.decode(text[start:end])
        except _NOT_DECODED:
            yield from _search_line(text, start, end)
        else:
            # A blank before an object is not part of it.
            yield (start if text[start] == _BRACE else text.index(b"{", start)), end, fields
        start = end


def _search_line(text: bytes, start: int, end: int) -> Iterator[_Piece]:
    """Yield the whole objects of a damaged line, and the pieces between them."""
    begins = [found.start() for found in _BEGINNINGS.finditer(text, start, end)]
    for first, last in zip([start, *begins], [*begins, end], strict=True):
        piece = text[first:last]
        whole = _find_end(piece)
        if whole:
            yield first, first + whole, _decode(piece[:whole])
        if rest := piece[whole:].strip(_PADDING):
            yield first + whole, last, NO_JSON if rest.strip(b"\0" + _PADDING) else NULS
    # Behind the last object is at least the line break.
    yield end, end, None


def _find_end(piece: bytes) -> int:
    """Return the position behind the object with which a piece begins, 0 if there is none."""
    if not piece.startswith(b"{"):
        return 0
    try:
        return _JSON.raw_decode(piece.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        return 0


def _decode(piece: bytes) -> _Line | str:
    """Return the fields of an object, or the reason why it is none of an access log."""
    try:
        return _DECODER.decode(piece)
    except msgspec.ValidationError:
        # It may be damaged behind the fault.
        with contextlib.suppress(*_NOT_DECODED):
            return explain_first(msgspec.json.decode(piece), _Line, _EXPECTED)
        return NO_JSON
    except _NOT_DECODED:
        return NO_JSON
