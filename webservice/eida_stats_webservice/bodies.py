"""The body of a request, read within bounds."""

import contextlib
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from eida_statistics.errors import TooLarge, UnreadableBody, UnsupportedMediaType

_CHUNK_BYTES = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


def read_json(request: Request, limit: int) -> bytes:
    """Read a JSON body, plain or gzip, of at most `limit` bytes as it comes in and when it is unpacked.

    Raises:
        UnsupportedMediaType: if it is of another type or encoding.
        TooLarge: as soon as that is seen: neither the body nor what it unpacks to is held beyond the limit.
        UnreadableBody: if it says gzip and is none, or is cut off.
    """
    if request.mimetype not in ("", "application/json"):
        raise UnsupportedMediaType(request.mimetype, hint="Send Content-Type: application/json.")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding}", hint="Send it plain or as gzip.")
    request.max_content_length = limit
    # Werkzeug refuses what is declared too large before reading, and stops reading what turns out to be.
    chunks = _chunks(request.stream)
    if encoding == "gzip":
        chunks = _unpacked(chunks, limit)
    return b"".join(chunks)


def drain(request: Request, limit: int) -> None:
    """Read and forget what a client still sends, up to `limit` bytes.

    One that is refused while it is sending would otherwise find its connection reset, and not the answer.
    """
    request.max_content_length = None
    left = limit
    # A chunked body that was refused for its size is not read on; one that the client broke off has ended.
    with contextlib.suppress(RequestEntityTooLarge, ClientDisconnected):
        while left > 0 and (chunk := request.stream.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _unpacked(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Undo gzip, of one member or several."""
    left = limit
    member = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            waiting = chunk
            while waiting:
                if member.eof:
                    member = zlib.decompressobj(_GZIP)
                piece = member.decompress(waiting, _CHUNK_BYTES)
                left -= len(piece)
                if left < 0:
                    raise TooLarge(f"more than {limit:,} bytes when unpacked")
                yield piece
                waiting = member.unconsumed_tail or member.unused_data
    except zlib.error as error:
        raise UnreadableBody(f"Content-Encoding says gzip: {error}") from error
    if not member.eof:
        raise UnreadableBody("Content-Encoding says gzip, and the data is cut off")
