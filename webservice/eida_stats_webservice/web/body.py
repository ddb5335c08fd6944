"""The body of a request, read within bounds of size and time."""

import codecs
import contextlib
import select
import socket
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from eida_statistics.errors import NotJSON
from eida_stats_webservice.errors import Busy, ClientGone, TooLarge, TooSlow, UnreadableBody, UnsupportedMediaType

READ_SECONDS = 120
DRAIN_SECONDS = 5

_CHUNK_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS
# Packers that work in parallel write a member for each block; a payload has no need of more.
_MEMBERS = 1000
# Payloads shrink to about a tenth. A much smaller body is a bomb, and is refused long before the limit.
_UNPACKED_FREELY = 16 << 20
_MOST_PACKED = 200
# RFC 8259: insignificant whitespace, and the first characters of a value.
_BLANK = b" \t\n\r"
_BEGINNINGS = b'{["-0123456789tfn'
_GZIP_MAGIC = b"\x1f\x8b"
_BEGINNING_BYTES = 3
# Only Linux has the flag that a peer has closed its end.
_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP)


class Budget:
    """Bounds the bytes of bodies that all threads of a process hold at once.

    Args:
        capacity: the bound. The largest body must fit, or it could never be read.
    """

    def __init__(self, capacity: int) -> None:
        self._left = capacity
        self._lock = threading.Lock()

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Yield a share for one body, which is empty at first and released at the end of the context."""
        share = Share(self)
        try:
            yield share
        finally:
            share.shrink(0)

    def take(self, count: int) -> None:
        """Take bytes from the budget.

        Raises:
            Busy: if there are fewer.
        """
        with self._lock:
            if count > self._left:
                raise Busy("other large payloads are under way", hint="Try again later.")
            self._left -= count

    def put_back(self, count: int) -> None:
        """Put bytes back that were taken."""
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
        """Put all but `size` bytes back; a smaller share stays as it is."""
        if size < self._size:
            self._budget.put_back(self._size - size)
            self._size = size


def read_json(request: Request, limit: int, share: Share) -> bytearray:
    """Read a JSON body, plain or gzip, of at most `limit` bytes as it comes in and when it is unpacked.

    Its beginning decides what it is, since many clients say nothing or something else about it. A byte order mark
    is skipped.

    Args:
        request: the request.
        limit: the largest size.
        share: grows with the body, unpacked.

    Raises:
        Busy: as soon as the share cannot grow: bodies of other requests take the memory.
        NotJSON: as soon as it is seen that no JSON begins like this.
        UnsupportedMediaType: if no JSON begins like this and it says that it is of another type, or if it has an
            encoding other than gzip.
        TooLarge: as soon as that is seen: neither the body nor what it unpacks to is held beyond the limit.
        TooSlow: if it is not there after `READ_SECONDS`.
        UnreadableBody: if it is cut off, its chunks are not understood, or it says gzip and is none.
    """
    is_gzip = _is_gzip(request.headers.get("Content-Encoding", ""))
    request.max_content_length = limit
    with _ended_after(READ_SECONDS, request) as expired:
        # Werkzeug refuses a body that is declared too large, and stops reading one that turns out to be.
        beginning, chunks = _split_beginning(_chunks(request, expired))
        if is_gzip or beginning.startswith(_GZIP_MAGIC):
            beginning, chunks = _split_beginning(_unpacked(chunks, limit))
        if beginning == codecs.BOM_UTF8:
            next(chunks)
        # It grows in place; pieces that are joined at the end would be there twice.
        body = bytearray()
        try:
            for chunk in _begun_like_json(chunks):
                share.grow(len(chunk))
                body += chunk
        except NotJSON as error:
            if request.mimetype in ("", "application/json"):
                raise
            raise UnsupportedMediaType(request.mimetype, hint="Send the JSON of an aggregate file.") from error
        if not body:
            raise NotJSON("the body is empty")
        return body


def _is_gzip(content_encoding: str) -> bool:
    """Return whether a body is packed with gzip, by its header.

    Raises:
        UnsupportedMediaType: if it has another encoding.
    """
    names = [name.strip() for name in content_encoding.lower().split(",")]
    encodings = [name for name in names if name not in ("", "identity")]
    if encodings in ([], ["gzip"], ["x-gzip"]):
        return bool(encodings)
    raise UnsupportedMediaType(f"Content-Encoding: {content_encoding}", hint="Send it plain or as gzip.")


def _split_beginning(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a body, and all of its chunks, of which the first one has just these bytes."""
    beginning = b""
    for chunk in chunks:
        beginning += chunk
        if len(beginning) >= _BEGINNING_BYTES:
            break
    first, rest = beginning[:_BEGINNING_BYTES], beginning[_BEGINNING_BYTES:]
    return first, chain([first], [rest] if rest else [], chunks)


def read_body(request: Request, limit: int) -> bytes:
    """Read a body of any type, of at most `limit` bytes, as it comes in.

    Raises:
        TooLarge: as soon as that is seen.
        TooSlow: if it is not there after `READ_SECONDS`.
        UnreadableBody: if it is cut off, or its chunks are not understood.
    """
    request.max_content_length = limit
    with _ended_after(READ_SECONDS, request) as expired:
        return b"".join(_chunks(request, expired))


def drain(request: Request, limit: int) -> None:
    """Read and forget what a client still sends, up to `limit` bytes and for `DRAIN_SECONDS`.

    One that is refused while it is sending would otherwise find its connection reset, and not the answer.
    """
    request.max_content_length = None
    left = limit
    with (
        _ended_after(DRAIN_SECONDS, request) as expired,
        # A chunked body that was refused for its size is not read on; one that the client broke off has ended.
        contextlib.suppress(RequestEntityTooLarge, ClientDisconnected, OSError, ParseException),
    ):
        while left > 0 and not expired.is_set() and (chunk := request.stream.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)


def check_connected(request: Request) -> None:
    """Check that the client still waits for the answer; its body must have been read.

    A request may wait for a minute before it is carried out. A client that has given up by then may have sent
    something else meanwhile, which this request must not undo.

    Raises:
        ClientGone: if it has closed its end of the connection.
    """
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    if connection is None:
        # As in a test.
        return
    poll = select.poll()
    poll.register(connection, _CLOSED)
    if poll.poll(0):
        raise ClientGone(hint="Keep the connection open until the answer has come.")


@contextmanager
def _ended_after(seconds: float, request: Request) -> Iterator[threading.Event]:
    """End the request's body for its reader when time is up, and set an event.

    A timeout of the socket would not do: it starts again with each byte of a client that sends one at a time.
    Half closed like this, the connection still takes the answer, and gunicorn does not use it again.
    """
    expired = threading.Event()
    connection: socket.socket | None = request.environ.get("gunicorn.socket")

    def end() -> None:
        expired.set()
        # Without a socket, as in a test, the body is there already; a client may have gone by now.
        with contextlib.suppress(OSError):
            if connection is not None:
                # Not the method of ssl.SSLSocket, which would send the answer unencrypted.
                socket.socket.shutdown(connection, socket.SHUT_RD)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _chunks(request: Request, expired: threading.Event) -> Iterator[bytes]:
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
            raise UnreadableBody("it breaks off, or its chunks are not understood") from error
    if expired.is_set():
        raise TooSlow(f"more than {READ_SECONDS} seconds")
    if read < (request.content_length or 0):
        raise UnreadableBody(f"it breaks off after {read:,} of {request.content_length:,} bytes")


def _begun_like_json(chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        beginning = chunk.lstrip(_BLANK)
        if beginning and beginning[0] not in _BEGINNINGS:
            raise NotJSON("it begins as no JSON does")
        yield chunk
        if beginning:
            break
    yield from chunks


def _unpacked(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Undo gzip, of one member or several."""
    left = limit
    packed = 0
    member, members = zlib.decompressobj(_GZIP), 1
    try:
        for chunk in chunks:
            waiting = chunk
            packed += len(chunk)
            while waiting:
                if member.eof:
                    # Each begins with a copy of all that is left, so that very many would take for ever.
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
                if unpacked > max(_UNPACKED_FREELY, _MOST_PACKED * (packed - len(waiting))):
                    raise TooLarge(f"it unpacks to more than {_MOST_PACKED} times its size")
    except zlib.error as error:
        raise UnreadableBody(f"it is not gzip data: {error}") from error
    if not member.eof:
        raise UnreadableBody("its gzip data is cut off")
