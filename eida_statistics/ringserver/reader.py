"""Read a transfer log, in either format, piece by piece."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eida_statistics.errors import ForeignLog
from eida_statistics.ringserver import json_lines, simple_records, transfer_log
from eida_statistics.ringserver.events import Event, Rejection, Skipped, Unfinished

# A record of a client that gets a hundred thousand streams has 5 MB.
_MAX_PIECE_BYTES = 64 << 20
_MAX_LINE_BYTES = 1 << 16
_FIRST_BYTES = 16
# A file whose first lines have nothing of a transfer log is another file.
_FIRST_LINES = 20

_PADDING = re.compile(rb"(?:[\0\s\x1e]++|\xef\xbb\xbf)+")
_STREAM_LINES = re.compile(rb"(?:" + transfer_log.STREAM_LINE + rb")+")
_OF_PORTABLE_DATASELECT = re.compile(rb"END CLIENT \S+ \[[^\s\]]*\] total bytes: ")
_MARKUP = re.compile(rb"\s*<[!?A-Za-z]")
_BINARY = re.compile(rb"[\x01-\x08\x0e-\x1a]")

_HINT = "Name transfer logs of ringserver: files with txlog or rxlog in their names."


class _Piece(NamedTuple):
    event: Event
    end: int


def read_events(chunks: Iterable[bytes], name: str) -> Iterator[Event]:
    """Yield the pieces of a transfer log, in their order. Together they have all of its bytes.

    Args:
        chunks: the content of the log, not compressed, in pieces of any size.
        name: the name of the log in errors.

    Raises:
        ForeignLog: if it is another kind of file.
    """
    waiting = iter(chunks)
    data, text, position, line = b"", "", 0, 1
    is_all, is_ours, foreign_lines = False, False, 0
    while position < len(data) or not is_all:
        start = position
        position, line = yield from simple_records.read_simple(text, position, line)
        if data.startswith(b"{", position):
            position, line = yield from json_lines.read_simple(data, position, line)
        is_ours |= position > start
        if is_all and position == len(data):
            break
        piece = _read_piece(data, position, line, is_all=is_all)
        if piece is None and not is_all and len(data) - position < _MAX_PIECE_BYTES:
            chunk = next(waiting, None)
            is_all = chunk is None
            data, position = data[position:] + (chunk or b""), 0
            text = data.decode("latin-1")
            continue
        if piece is None:
            piece = _end_piece(data, position, line, is_all=is_all)
        event = piece.event
        if not is_ours and not isinstance(event, Skipped):
            content = data[position : piece.end]
            is_ours = _is_ours(event, content)
            if not is_ours:
                foreign_lines += 1
                _refuse_foreign(content, event, foreign_lines, name)
        yield event
        line += data.count(b"\n", position, piece.end)
        position = piece.end
    if foreign_lines and not is_ours:
        raise ForeignLog(f"{name}: no line is one of a transfer log", hint=_HINT)


def _read_piece(data: bytes, position: int, line: int, *, is_all: bool) -> _Piece | None:
    """Return the piece at a position, or None if more text is needed."""
    if not is_all and len(data) - position < _FIRST_BYTES:
        return None
    if data.startswith(transfer_log.START, position):
        found = transfer_log.read_record(data, position, line, is_all=is_all)
    elif data.startswith(b"{", position):
        found = json_lines.read_line(data, position, line)
    elif (padding := _PADDING.match(data, position)) is not None:
        return _Piece(Skipped(line, padding.end() - position), padding.end())
    else:
        return _read_other(data, position, line)
    if found is None:
        return None
    event = found.record or Rejection(line, found.end - position, found.reason)
    return _Piece(event, found.end)


def _read_other(data: bytes, position: int, line: int) -> _Piece | None:
    """Return a piece that begins with neither a record nor padding, up to the next one."""
    if (streams := _STREAM_LINES.match(data, position)) is not None:
        return _reject(streams.end(), position, line, "stream lines without a START line")
    line_end = data.find(b"\n", position) + 1
    if not line_end:
        return None
    starts = [data.find(mark, position, line_end) for mark in (transfer_log.START, json_lines.BEGINNING)]
    end = min((start for start in starts if start >= 0), default=line_end)
    is_end = transfer_log.END_LINE.match(data, position) is not None
    return _reject(
        end, position, line, "an END line without a START line" if is_end else "no line of a transfer log"
    )


def _reject(end: int, position: int, line: int, reason: str) -> _Piece:
    return _Piece(Rejection(line, end - position, reason), end)


def _end_piece(data: bytes, position: int, line: int, *, is_all: bool) -> _Piece:
    """Return the rest of a log that ends within a record, or the beginning of a piece that is too long."""
    if is_all:
        return _Piece(Unfinished(line, len(data) - position), len(data))
    return _reject(position + _MAX_LINE_BYTES, position, line, "a record of more than 64 MiB")


def _is_ours(event: Event, text: bytes) -> bool:
    """Return whether a piece shows that its file is a transfer log: a record, even a bad or an unfinished one."""
    if isinstance(event, Rejection):
        is_start = text.startswith(transfer_log.START) and event.reason != transfer_log.BAD_START
        return is_start or (text.startswith(b"{") and json_lines.is_record(text))
    beginnings = (transfer_log.START, json_lines.BEGINNING)
    # The first bytes of a log may be there before the others.
    return not isinstance(event, Unfinished) or any(
        text.startswith(one) or one.startswith(text) for one in beginnings
    )


def _refuse_foreign(piece: bytes, event: Event, count: int, name: str) -> None:
    """Raise an error for a piece, the first ones of a file, that shows that the file is of another kind."""
    reason = event.reason if isinstance(event, Rejection) else ""
    if _OF_PORTABLE_DATASELECT.match(piece):
        raise ForeignLog(f"{name}: a log of portable-fdsnws-dataselect", hint=_HINT)
    if json_lines.is_access_event(piece):
        raise ForeignLog(f"{name}: an access log", hint=_HINT)
    if _MARKUP.match(piece):
        raise ForeignLog(f"{name}: a web page", hint=_HINT)
    if piece.startswith(b"{") and reason != json_lines.NO_JSON and not json_lines.is_record(piece):
        raise ForeignLog(f"{name}: JSON, but no records of a ringserver", hint=_HINT)
    if _BINARY.search(piece):
        raise ForeignLog(f"{name}: not a text", hint=_HINT)
    if count >= _FIRST_LINES:
        raise ForeignLog(f"{name}: the first {count} lines are no records", hint=_HINT)
