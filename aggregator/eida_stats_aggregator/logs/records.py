"""Find the whole records in a damaged line, and the pieces between them.

A server that is killed leaves a record without its end, and the next record follows on the same line. A log that is
truncated while the server writes, and a file system after a crash, have NUL bytes. Some programs write a record
separator (0x1E, RFC 7464) before each record, or a byte order mark.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

# No data, but allowed around records: white space, record separators and byte order marks.
_PADDING = re.compile(rb"(?:[\s\x1e]++|\xef\xbb\xbf)*")
_NULS = re.compile(rb"\0+")
# Records have four levels. Deeper ones are found by their own beginning.
_MAX_DEPTH = 500

_SPACE = rb"[ \t\r\n]*+"
_STRING = rb'"((?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_BEGINNING = re.compile(rb"\{" + _SPACE + rb'"')
_KEY = re.compile(_SPACE + _STRING + _SPACE + rb":")
_VALUE = re.compile(_SPACE + rb"(?:([{\[])|(?:" + _STRING + rb"|" + _NUMBER + rb"|true|false|null|NaN|-?Infinity))")
_COMMA = re.compile(_SPACE + rb",")
_END_OF = {b"{": re.compile(_SPACE + rb"\}"), b"[": re.compile(_SPACE + rb"\]")}
_USER = b"userID"


class Piece(NamedTuple):
    """A part of a line: a whole record, or what is between two; `start` is its first byte, counted from 0."""

    start: int
    text: bytes
    is_record: bool


class _Span(NamedTuple):
    """From the first byte of a record to the one after its last."""

    start: int
    end: int


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not been read yet."""

    bracket: bytes
    start: int
    is_record: bool = False


def squeeze(text: bytes) -> bytes:
    """Return text in which each run of NUL bytes is a single one."""
    return _NULS.sub(b"\0", text) if b"\0" in text else text


def split(line: bytes) -> list[Piece]:
    """Split a line into its whole records and the pieces between them, in their order.

    A record is a JSON object that has `userID` and is in no other object that is whole. Padding between records is
    in no piece. In positions, a run of NUL bytes counts as one byte. The time is linear in the length of the line.
    """
    line = squeeze(line)
    pieces: list[Piece] = []
    end = 0
    for span in [*_find_records(line), _Span(len(line), len(line))]:
        pieces += _piece_between(line, end, span.start)
        if span.start < span.end:
            pieces.append(Piece(span.start, line[span.start : span.end], is_record=True))
        end = span.end
    return pieces


def _piece_between(line: bytes, start: int, end: int) -> list[Piece]:
    padding = _PADDING.match(line, start, end)
    start = padding.end() if padding is not None else start
    text = line[start:end].rstrip(b" \t\r\n\v\f\x1e")
    return [Piece(start, text, is_record=False)] if text else []


def _find_records(line: bytes) -> Iterator[_Span]:
    beginning = _BEGINNING.search(line)
    while beginning is not None:
        records, end = _read_object(line, beginning.start())
        yield from records
        beginning = _BEGINNING.search(line, end)


def _read_object(line: bytes, start: int) -> tuple[list[_Span], int]:
    """Read an object, and return the records in it and where to look for the next one.

    An object that is torn contains the whole records behind it, if they are where a value can be. Otherwise
    reading fails at the first key of such a record, or before. The search goes on at the last thing that was read,
    since that may be a torn string, which ends in the brace of the record and the quote of its key. So no byte is
    read more than twice.
    """
    found_records: list[_Span] = []
    nested = [_Open(b"{", start)]
    at = start + 1
    key_follows = True
    while nested:
        last = at
        if key_follows:
            key = _KEY.match(line, at)
            if key is None:
                break
            nested[-1].is_record |= key[1] == _USER
            last = at = key.end()
        value = _VALUE.match(line, at)
        if value is None or len(nested) > _MAX_DEPTH:
            break
        at = value.end()
        bracket: bytes | None = value[1]
        if bracket is not None:
            nested.append(_Open(bracket, at - 1))
            last = at
            if (empty := _END_OF[bracket].match(line, at)) is None:
                key_follows = bracket == b"{"
                continue
            last = at = _close(nested, found_records, empty.end())
        while nested and (end := _END_OF[nested[-1].bracket].match(line, at)) is not None:
            last = at = _close(nested, found_records, end.end())
        if nested:
            comma = _COMMA.match(line, at)
            if comma is None:
                break
            at = comma.end()
            key_follows = nested[-1].bracket == b"{"
    else:
        # Records in an object that is whole and no record are its own affair.
        found_records = [span for span in found_records if span.start == start]
        last = at
    return found_records, last


def _close(nested: list[_Open], found_records: list[_Span], end: int) -> int:
    """Close the innermost object or array, and return its end; a record contains those that are nested in it."""
    closed = nested.pop()
    if closed.is_record:
        while found_records and found_records[-1].start > closed.start:
            found_records.pop()
        found_records.append(_Span(closed.start, end))
    return end
