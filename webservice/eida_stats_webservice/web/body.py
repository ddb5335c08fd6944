"""Read the body of a request within limits of size and time."""

import codecs
import contextlib
import select
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from eida_statistics.errors import NotJSON
from eida_stats_webservice.errors import Busy, ClientGone, TooLarge, TooSlow, UnreadableBody, UnsupportedMediaType

READ_SECONDS = 120
EMPTY = "the body is empty"
DRAIN_SECONDS = 5

_CHUNK_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
# Parallel gzip programs write one member for each block; no payload needs more members than this.
_MEMBERS = 1000
# gzip shrinks payloads to about a tenth. A much smaller body is a gzip bomb, refused long before the limit.
_FREE_UNPACKED_BYTES = 16 << 20
_MAX_PACKING_RATIO = 200
# RFC 8259: insignificant whitespace, and the first characters of a value.
_BLANK = b" \t\n\r"
_BEGINNINGS = b'{["-0123456789tfn'
_GZIP_MAGIC = b"\x1f\x8b"
_BEGINNING_BYTES = 3
# Only Linux reports that the peer has closed its end.
_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP)


class Budget:
    """Limits the bytes of bodies that all threads of a process hold at once. The largest body must fit."""

    def __init__(self, capacity: int) -> None:
        self._left = capacity
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield an empty share for one body, and release the share at the end of the context."""
        share = Share(self)
        try:
            yield share
        finally:
            share.shrink(0)

    def take(self, count: int) -> None:
        """Take bytes from the budget.

        Raises:
            Busy: if fewer bytes are left.
        """
        with self._lock:
            if count > self._left:
                raise Busy("other large payloads are in progress", hint="Try again later.")
            self._left -= count

    def put_back(self, count: int) -> None:
        """Return bytes to the budget."""
        with self._lock:
            self._left += count


class Share:
    """The bytes that one body takes from a budget. Only one thread uses it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def grow(self, count: int) -> None:
        """Take more bytes.

        Raises:
            Busy: if the budget has fewer left.
        """
        self._budget.take(count)
        self._size += count

    def shrink(self, size: int) -> None:
        """Return all bytes but `size` to the budget, if the share is larger than that."""
        if size < self._size:
            self._budget.put_back(self._size - size)
            self._size = size


def read_json(request: Request, limit: int, share: Share) -> bytearray:
    """Read a JSON body, plain or gzip, of at most `limit` bytes both packed and unpacked. The share grows with it.

    The first bytes decide whether it is gzip, because many clients send no headers about it, or wrong ones. A byte
    order mark is skipped.

    Raises:
        Busy: as soon as the share cannot grow, because bodies of other requests use the memory.
        NotJSON: as soon as the first character shows that this is no JSON.
        UnsupportedMediaType: if this is no JSON and the header names another type, or if the body has an encoding
            other than gzip.
        TooLarge: as soon as the packed or unpacked body exceeds the limit. No more than that is held.
        TooSlow: if the body is not complete after `READ_SECONDS`.
        UnreadableBody: if it is cut off, its chunks are malformed, or the header says gzip and it is not.
    """
    is_gzip = _is_gzip(request.headers.get("Content-Encoding", ""))
    request.max_content_length = limit
    with _limit_time(READ_SECONDS, request) as expired:
        # Werkzeug refuses a body whose declared size is too large, and stops reading at the limit.
        beginning, chunks = _split_beginning(_read_chunks(request, expired))
        if is_gzip or beginning.startswith(_GZIP_MAGIC):
            beginning, chunks = _split_beginning(_unpack(chunks, limit))
        if beginning == codecs.BOM_UTF8:
            next(chunks)
        # A bytearray grows in place. Joining pieces at the end would need twice the memory.
        body = bytearray()
        try:
            for chunk in _check_json_start(chunks):
                share.grow(len(chunk))
                body += chunk
        except NotJSON as error:
            if request.mimetype in ("", "application/json"):
                raise
            raise UnsupportedMediaType(request.mimetype, hint="Send the JSON of an aggregate file.") from error
        if not body:
            raise NotJSON(EMPTY)
        return body


def _is_gzip(content_encoding: str) -> bool:
    """Return whether a Content-Encoding header says gzip, and refuse other encodings."""
    names = [name.strip() for name in content_encoding.lower().split(",")]
    encodings = [name for name in names if name not in ("", "identity")]
    if encodings in ([], ["gzip"], ["x-gzip"]):
        return bool(encodings)
    raise UnsupportedMediaType(f"Content-Encoding: {content_encoding}", hint="Send the body plain or as gzip.")


def _split_beginning(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a body, and all of its chunks; the first chunk is exactly these bytes."""
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= _BEGINNING_BYTES:
            break
    first, rest = beginning[:_BEGINNING_BYTES], beginning[_BEGINNING_BYTES:]
    return first, chain([first], [rest] if rest else [], chunks)


def read_body(request: Request, limit: int) -> bytes:
    """Read a body of any type and at most `limit` bytes.

    Raises:
        TooLarge: as soon as the body exceeds the limit.
        TooSlow: if the body is not complete after `READ_SECONDS`.
        UnreadableBody: if it is cut off, or its chunks are malformed.
    """
    request.max_content_length = limit
    with _limit_time(READ_SECONDS, request) as expired:
        return b"".join(_read_chunks(request, expired))


def read_unpacked(request: Request, limit: int, share: Share) -> bytearray:
    """Read a body of any type, plain or gzip, of at most `limit` bytes both packed and unpacked. The share grows.

    The first bytes decide whether it is gzip.

    Raises:
        Busy: as soon as the share cannot grow, because bodies of other requests use the memory.
        UnsupportedMediaType: if the body has an encoding other than gzip.
        TooLarge: as soon as the packed or unpacked body exceeds the limit.
        TooSlow: if the body is not complete after `READ_SECONDS`.
        UnreadableBody: if it is cut off, its chunks are malformed, or the header says gzip and it is not.
    """
    is_gzip = _is_gzip(request.headers.get("Content-Encoding", ""))
    request.max_content_length = limit
    body = bytearray()
    with _limit_time(READ_SECONDS, request) as expired:
        beginning, chunks = _split_beginning(_read_chunks(request, expired))
        if is_gzip or beginning.startswith(_GZIP_MAGIC):
            chunks = _unpack(chunks, limit)
        for chunk in chunks:
            share.grow(len(chunk))
            body += chunk
    return body


def read_any(request: Request, limit: int, share: Share) -> bytearray:
    """Read a body of any type and at most `limit` bytes, as it is. The share grows with it.

    Raises:
        Busy: as soon as the share cannot grow, because bodies of other requests use the memory.
        TooLarge: as soon as the body exceeds the limit.
        TooSlow: if the body is not complete after `READ_SECONDS`.
        UnreadableBody: if it is cut off, or its chunks are malformed.
    """
    request.max_content_length = limit
    body = bytearray()
    with _limit_time(READ_SECONDS, request) as expired:
        for chunk in _read_chunks(request, expired):
            share.grow(len(chunk))
            body += chunk
    return body


def copy_body(request: Request, limit: int, write: Callable[[bytes], object]) -> None:
    """Pass a body of any type and at most `limit` bytes to a function, as it is, in pieces of at most 1 MiB.

    Raises:
        UnsupportedMediaType: if the body has an encoding other than gzip.
        TooLarge: as soon as the body exceeds the limit.
        TooSlow: if the body is not complete after `READ_SECONDS`.
        UnreadableBody: if it is cut off, or its chunks are malformed.
    """
    _is_gzip(request.headers.get("Content-Encoding", ""))
    request.max_content_length = limit
    with _limit_time(READ_SECONDS, request) as expired:
        for chunk in _read_chunks(request, expired):
            write(chunk)


def drain(request: Request, limit: int) -> None:
    """Read and discard the rest of a body, up to `limit` bytes and for `DRAIN_SECONDS`.

    A client that is refused while it sends would otherwise see a reset connection instead of the answer.
    """
    request.max_content_length = None
    left = limit
    with (
        _limit_time(DRAIN_SECONDS, request) as expired,
        # Werkzeug stops reading a chunked body that is too large; other errors mean that the client has stopped.
        contextlib.suppress(RequestEntityTooLarge, ClientDisconnected, OSError, ParseException),
    ):
        while left > 0 and not expired.is_set() and (chunk := request.stream.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)


def check_connected(request: Request) -> None:
    """Check that the client still waits for the answer. Its body must have been read.

    A request may wait a minute for its slot. A client that has given up by then may have sent another request,
    which this one must not undo.

    Raises:
        ClientGone: if the client has closed its end of the connection.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:
        # A test client has no socket.
        return
    poll = select.poll()
    poll.register(connection, _CLOSED)
    if poll.poll(0):
        raise ClientGone(hint="Keep the connection open until the answer arrives.")


@contextmanager
def _limit_time(seconds: float, request: Request) -> Iterator[threading.Event]:
    """Yield an event that is set when the time is over; the body then ends for its reader.

    A timeout of the socket is not enough, because it starts again with each byte that a slow client sends. The
    half-closed connection still transmits the answer, and gunicorn does not use it for another request.
    """
    expired = threading.Event()
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def end() -> None:
        expired.set()
        # The client may have closed the connection. A test client has no socket.
        with contextlib.suppress(OSError):
            if connection is not None:
                # Not ssl.SSLSocket's method, after which the answer would be sent unencrypted.
                socket.socket.shutdown(connection, socket.SHUT_RD)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _read_chunks(request: Request, expired: threading.Event) -> Iterator[bytes]:
    stream: IO[bytes] = request.stream
    read = 0
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            read += len(chunk)
            if expired.is_set():
                break
            yield chunk
    except (ClientDisconnected, OSError, ParseException) as error:
        if not expired.is_set():
            raise UnreadableBody("it is cut off, or its chunks are malformed") from error
    if expired.is_set():
        raise TooSlow(f"more than {READ_SECONDS} seconds")
    if read < (request.content_length or 0):
        raise UnreadableBody(f"it is cut off after {read:,} of {request.content_length:,} bytes")


def _check_json_start(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks, if the first character is one with which JSON begins."""
    for chunk in chunks:
        beginning = chunk.lstrip(_BLANK)
        if beginning and beginning[0] not in _BEGINNINGS:
            raise NotJSON("JSON does not begin like this")
        yield chunk
        if beginning:
            break
    yield from chunks


def _unpack(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Yield the unpacked pieces of gzip data, which may have several members."""
    left = limit
    packed = 0
    member, members = zlib.decompressobj(_GZIP), 1
    try:
        for chunk in chunks:
            waiting = chunk
            packed += len(chunk)
            while waiting:
                if member.eof:
                    # Each member copies the rest of the chunk: the time grows with the square of their number.
                    if members == _MEMBERS:
                        raise UnreadableBody(f"its gzip data has more than {_MEMBERS} members")
                    member, members = zlib.decompressobj(_GZIP), members + 1
                piece = member.decompress(waiting, _CHUNK_BYTES)
                left -= len(piece)
                if left < 0:
                    raise TooLarge(f"more than {limit:,} bytes when unpacked")
                yield piece
                waiting = member.unconsumed_tail or member.unused_data
                unpacked = limit - left
                if unpacked > max(_FREE_UNPACKED_BYTES, _MAX_PACKING_RATIO * (packed - len(waiting))):
                    raise TooLarge(f"it unpacks to more than {_MAX_PACKING_RATIO} times its size")
    except zlib.error as error:
        raise UnreadableBody(f"it is not gzip data: {error}") from error
    if not member.eof:
        raise UnreadableBody("its gzip data is cut off")
