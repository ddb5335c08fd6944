"""Records in the text format of ringserver's transfer logs.

A record is a START line, a line for each stream, and an END line, as `WriteTransferLog` in `src/logging.c` of
ringserver writes them:

    START CLIENT host [address] (protocol|client id) @ time (connected time) TX
    FDSN:FR_SURF_00_H_H_Z/MSEED 8192 16
    END CLIENT host [address] total TX bytes: 8192

A client chooses its client id, of up to 255 bytes, and the server writes it as it is: with line breaks, with the
end of a START line, or with whole records of others. So a START line may end at several places (tails). The right
one is the first that is followed by nothing but stream lines and an END line that fits: with the same host,
address, direction and total. A client can still forge records of itself, which no reader can recognise.
"""

import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple, cast

from eida_statistics.ringserver.events import RX, TX, Direction, TransferRecord
from eida_statistics.ringserver.fields import BadField, Heading, Place, Streams, make_record

START = b"START CLIENT "
BAD_START = "a START line that cannot be read"
NO_STREAMS = "a record without an end and whole lines"
MAX_ID_BYTES = 255

_TIME = rb"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?Z?"
# Shorter names than those of the protocols would let more forged text fit into a client id.
HEAD = rb"START CLIENT (\S++) \[([^\s\]]++)\] \(([A-Za-z]{4,}+)\|"
TAIL = rb"\) @ (" + _TIME + rb") \(connected (" + _TIME + rb")\) (TX|RX)\r?\n"
# An id has no blanks, line breaks or NULs.
STREAM_LINE = rb"[^\0\t-\r ]++ [0-9]++ [0-9]++\r?\n"
# Groups have no possessive quantifier: before Python 3.11.5, they match wrong text (gh-106052).
_STREAMS = rb"((?:" + STREAM_LINE + rb")*)"
# A tail has fewer bytes.
_TAIL_BYTES = 128

_DIRECTIONS: dict[bytes, Direction] = {b"TX": TX, b"RX": RX}

_HEAD_PATTERN = re.compile(HEAD)
_TAIL_PATTERN = re.compile(TAIL)
_STREAMS_PATTERN = re.compile(_STREAMS)
END_LINE = re.compile(rb"END CLIENT (\S++) \[([^\s\]]++)\] total (TX|RX) bytes: ([0-9]{1,20})\r?\n")


class Found(NamedTuple):
    """A piece of a log: a record, or None with the reason why it is none. `end` is the position behind it."""

    record: TransferRecord | None
    end: int
    reason: str = ""


class _Outcome(Enum):
    FITS = auto()
    DIFFERS = auto()
    """The END line fits but for its total."""
    FAILS = auto()
    OPEN = auto()
    """The text ends before the line that decides."""


class _Tail(NamedTuple):
    """The end of a START line, if it is one, and the streams and the END line behind it."""

    match: re.Match[bytes]
    streams: re.Match[bytes]
    end: re.Match[bytes] | None
    outcome: _Outcome

    @property
    def position(self) -> int:
        """The position behind the record."""
        return self.streams.end() if self.end is None else self.end.end()


class _Start(NamedTuple):
    """The beginning of a record, up to its client id, in a text; `line` is the number of its first line."""

    data: bytes
    head: re.Match[bytes]
    line: int

    @property
    def limit(self) -> int:
        """The last position at which the client id may end."""
        return self.head.end() + MAX_ID_BYTES

    @property
    def horizon(self) -> int:
        """The position up to which tails may reach."""
        return self.limit + _TAIL_BYTES


def read_record(data: bytes, start: int, line: int, *, is_all: bool) -> Found | None:
    """Return the piece of a log that begins with START, or None if more text is needed to decide.

    Args:
        data: the text.
        start: the position of START.
        line: the number of its line.
        is_all: whether no more text follows. None then means that the record is unfinished.
    """
    head = _HEAD_PATTERN.match(data, start)
    if head is None:
        return None if data.find(b"\n", start) < 0 else _reject_start(data, start)
    return _decide(_Start(data, head, line), is_all=is_all)


def _decide(start: _Start, *, is_all: bool) -> Found | None:
    tails = list(_find_tails(start))
    is_known = len(start.data) >= start.horizon
    fitting = _find_first(tails, _Outcome.FITS)
    if fitting is not None and fitting.position > start.limit:
        return _finish(start, fitting)
    if fitting is not None:
        return _choose(start, fitting, tails, is_known=is_known, is_all=is_all)
    # More text could show another tail.
    if not is_known or any(tail.outcome is _Outcome.OPEN for tail in tails):
        return None
    differing = _find_first(tails, _Outcome.DIFFERS)
    return _finish_cut(start, tails) if differing is None else _finish(start, differing)


def _find_first(tails: list[_Tail], *outcomes: _Outcome) -> _Tail | None:
    return next((tail for tail in tails if tail.outcome in outcomes), None)


def _choose(start: _Start, fitting: _Tail, tails: list[_Tail], *, is_known: bool, is_all: bool) -> Found | None:
    """Return a record whose END line may be part of its client id, or None if more text is needed.

    If it is, the real END line fits, too, and there are not only whole records between the two lines.
    """
    later = [tail for tail in tails if tail.match.start() >= fitting.position]
    if not is_all and (not is_known or any(tail.outcome is _Outcome.OPEN for tail in later)):
        return None
    for tail in later:
        # A client knows its own totals before they are written, but not those of others.
        if tail.outcome is _Outcome.FITS and tail.streams[1]:
            is_chain = _is_chain(start.data, fitting.position, tail.position, is_all=is_all)
            if is_chain is None:
                return None
            if not is_chain:
                return _finish(start, tail)
    return _finish(start, fitting)


def _find_tails(start: _Start) -> Iterator[_Tail]:
    for match in _TAIL_PATTERN.finditer(start.data, start.head.end(), start.horizon):
        if match.start() > start.limit:
            return
        yield _follow(start, match)


def _follow(start: _Start, match: re.Match[bytes]) -> _Tail:
    streams = cast("re.Match[bytes]", _STREAMS_PATTERN.match(start.data, match.end()))
    end = END_LINE.match(start.data, streams.end())
    if end is None:
        is_open = start.data.find(b"\n", streams.end()) < 0
        return _Tail(match, streams, None, _Outcome.OPEN if is_open else _Outcome.FAILS)
    if end.groups()[:3] != (start.head[1], start.head[2], match[3]):
        return _Tail(match, streams, None, _Outcome.FAILS)
    is_total = _add_sizes(streams[1]) == int(end[4])
    return _Tail(match, streams, end, _Outcome.FITS if is_total else _Outcome.DIFFERS)


def _add_sizes(streams: bytes) -> int:
    """Return the bytes of stream lines, -1 if a number has too many digits."""
    try:
        return sum(map(int, streams.split()[1::3]))
    except ValueError:
        return -1


def _is_chain(data: bytes, position: int, end: int, *, is_all: bool) -> bool | None:
    """Return whether whole records lead from one position to another or beyond, or None if more text is needed.

    Damaged text may be between them, but no other START. The client id of a record that ends beyond contains the
    other position. So may that of a record that is cut by the end of the text. Each record is the first one that
    fits: to look further would read the whole log from here.
    """
    while position < end:
        position = data.find(START, position, end)
        if position < 0:
            return False
        head = _HEAD_PATTERN.match(data, position)
        if head is None:
            return False
        start = _Start(data, head, 0)
        tails = list(_find_tails(start))
        whole = _find_first(tails, _Outcome.FITS) or _find_first(tails, _Outcome.DIFFERS)
        if whole is None:
            is_open = len(data) < start.horizon or any(tail.outcome is _Outcome.OPEN for tail in tails)
            if not is_open:
                return False
            return True if is_all else None
        position = whole.position
    return True


def _finish(start: _Start, tail: _Tail, end: int | None = None) -> Found:
    """Return the record of a tail; a cut one may have some bytes behind its last whole line."""
    data, first = start.data, start.head.start()
    client_id = data[start.head.end() : tail.match.start()]
    position = tail.position if end is None else end
    return _make_found(
        (*start.head.groups(), client_id),
        tail.match.groups(),
        tail.streams[1],
        None if tail.end is None else int(tail.end[4]),
        data[first : tail.streams.end()],
        Place(start.line, position - first),
        position,
    )


def _finish_cut(start: _Start, tails: list[_Tail]) -> Found:
    """Return a record without an end. The next record may begin anywhere behind its last whole line."""
    following = start.data.find(START, start.head.end(), start.horizon)
    own = [tail for tail in tails if following < 0 or tail.match.start() < following]
    if not own:
        return _reject_start(start.data, start.head.start())
    tail = own[-1]
    line_end = start.data.find(b"\n", tail.position)
    torn = start.data.find(START, tail.position, line_end + 1)
    end = torn if torn >= 0 else tail.position
    # A client id may contain such a beginning of a record of another client.
    return _finish(start, tail, end) if tail.streams[1] else Found(None, end, NO_STREAMS)


def _reject_start(data: bytes, start: int) -> Found:
    """Return the piece up to the end of a START line that cannot be read, or to another START in it."""
    line_end = data.find(b"\n", start) + 1
    following = data.find(START, start + 1, line_end)
    return Found(None, following if following >= 0 else line_end, BAD_START)


def _make_found(
    names: tuple[bytes, ...],
    times: tuple[bytes, ...],
    streams: bytes,
    total: int | None,
    text: bytes,
    place: Place,
    end: int,
) -> Found:
    """Return a record of the groups of the patterns above.

    Args:
        names: the host, the address, the protocol and the client id.
        times: the time at which it was written, that of the connection, and the direction.
        streams: the stream lines.
        total: the bytes that its end states.
        text: its lines without the END line.
        place: where it is.
        end: the position behind it.
    """
    address, protocol, client_id = (name.decode(errors="replace") for name in names[1:])
    written, connected, direction = times
    heading = Heading(_DIRECTIONS[direction], address, protocol, client_id, written.decode(), connected.decode())
    content = text.replace(b"\r\n", b"\n") if b"\r" in text else text
    try:
        record = make_record(
            heading, _split_streams(streams), total, content, place, holds_forgery=_is_odd(names[-1])
        )
    except BadField as error:
        return Found(None, end, str(error))
    except ValueError:
        # Python reads no number of more than 4300 digits.
        return Found(None, end, "a number with too many digits")
    return Found(record, end)


def _is_odd(client_id: bytes) -> bool:
    """Return whether a client id contains parts of records."""
    return b"CLIENT " in client_id or b"\n" in client_id or b") @ " in client_id


def _split_streams(lines: bytes) -> Streams:
    """Return the streams of stream lines."""
    # Unlike texts, bytes are not split at control characters of ids.
    parts = lines.split()
    ids = [part.decode(errors="replace") for part in parts[0::3]]
    return Streams(ids, [*map(int, parts[1::3])], [*map(int, parts[2::3])])
