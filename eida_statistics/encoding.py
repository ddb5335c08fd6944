"""The canonical form of payloads: JSON that is hashed and compressed row by row, and read in slices.

Neither all rows nor the whole JSON need to be in memory at once.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from eida_statistics.packed_rows import Packer
from eida_statistics.payload import CheckedRow, ContentHasher, Payload, Row, hash_identity
from eida_statistics.zstandard import zstd

# Smaller payloads are compressed in one call, which is faster and slightly better.
_AT_ONCE_BYTES = 8 << 20
_SLICE_BYTES = 1 << 20
_ROWS_AT_ONCE = 4096

# Canonical JSON escapes quotes within a text, so no text contains _ROWS_BEGIN. No text of a row has brackets.
_ROWS_BEGIN = b',"stats":['
_ROWS_END = b"]"
_BETWEEN_ROWS = b"},{"

RowsDecoder = msgspec.json.Decoder[list[Row]] | msgspec.json.Decoder[list[CheckedRow]]
TRUSTING = msgspec.json.Decoder(list[Row])
CHECKING = msgspec.json.Decoder(list[CheckedRow])


class UnreadablePayload(ValueError):
    """The bytes are not a payload in canonical form."""


class PayloadSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A payload without its rows.

    Attributes:
        envelope: the payload without its rows.
        content: the hash of its statistics; see `payload.hash_content`.
        count: the number of its rows.
    """

    envelope: Payload
    content: str
    count: int

    @property
    def hash(self) -> str:
        """The hash that identifies it among the payloads of a node; see `payload.hash_identity`."""
        return hash_identity(self.content, self.envelope.source, self.envelope.period)


class EncodedPayload(PayloadSummary, frozen=True, kw_only=True):
    """A payload in its canonical form.

    Attributes:
        body: its JSON, compressed with zstd.
        packed_rows: its rows column by column; see `packed_rows`.
        rows: its rows, in order; they can be read several times.
    """

    body: bytes | bytearray
    packed_rows: bytes | bytearray
    rows: Iterable[Row]

    def stream_rows(self) -> "EncodedPayload":
        """Return the same payload with rows that are decoded from its body, which takes less memory."""
        return msgspec.structs.replace(self, rows=_EncodedRows(self.body))


class Encoder:
    """Writes a payload whose rows are added some at a time, in order."""

    def __init__(self, envelope: Payload) -> None:
        self._envelope = msgspec.structs.replace(envelope, stats=[])
        head, self._tail = frame_rows(self._envelope)
        self._hasher = ContentHasher(envelope.days_coverage)
        self._compressor = _Compressor()
        self._compressor.add(head)
        self._packer = Packer()
        self._count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Write the next rows."""
        if not rows:
            return
        listed = memoryview(msgspec.json.encode(rows))[1:-1]
        if self._count:
            self._hasher.add(b",")
            self._compressor.add(b",")
        self._hasher.add(listed)
        self._compressor.add(listed)
        self._packer.add(rows)
        self._count += len(rows)

    def finish(self) -> EncodedPayload:
        """Return the payload with all rows that were added."""
        self._compressor.add(self._tail)
        body = self._compressor.finish()
        content = self._hasher.hash()
        return EncodedPayload(
            envelope=self._envelope,
            content=content,
            count=self._count,
            body=body,
            packed_rows=self._packer.finish(content),
            rows=_EncodedRows(body),
        )


def frame_rows(payload: Payload) -> tuple[bytes, bytes]:
    """Return the JSON of a payload before and after its rows, with the brackets around them."""
    head, begin, tail = payload.to_json(b"[]").partition(_ROWS_BEGIN)
    return head + begin, tail


def encode(payload: Payload) -> EncodedPayload:
    """Return a payload in its canonical form, with the same list of rows."""
    encoder = Encoder(payload)
    for start in range(0, len(payload.stats), _ROWS_AT_ONCE):
        encoder.add(payload.stats[start : start + _ROWS_AT_ONCE])
    return msgspec.structs.replace(encoder.finish(), rows=payload.stats)


class Reader:
    """Reads a payload in canonical form once, in slices.

    Args:
        body: the payload, compressed with zstd, in pieces of any size.
        decoder: `CHECKING` for a body that was kept, `TRUSTING` for one that was just encoded.
    """

    def __init__(self, body: Iterable[bytes | bytearray], decoder: RowsDecoder = CHECKING) -> None:
        self._text = decompress(body)
        self._decoder = decoder
        self._summary: PayloadSummary | None = None

    @property
    def summary(self) -> PayloadSummary:
        """Return the payload without its rows; all rows must have been read."""
        if self._summary is None:
            raise RuntimeError("not all rows have been read")
        return self._summary

    def rows(self) -> Iterator[Row]:
        """Yield the rows, in order.

        Raises:
            UnreadablePayload: if the bytes turn out to be invalid; rows may have been yielded before.
        """
        with _refuse_bad_json():
            head, buffer = self._read_head()
            hasher = ContentHasher(msgspec.json.decode(head + b"}", type=_Head).days_coverage)
            count = 0
            for listed in self._cut(buffer):
                if count:
                    hasher.add(b",")
                hasher.add(listed)
                rows = self._decoder.decode(b"".join((b"[", listed, b"]")))
                count += len(rows)
                yield from rows
            tail = b"".join((buffer, *self._text))
            self._summary = PayloadSummary(
                envelope=msgspec.json.decode(head + _ROWS_BEGIN + tail, type=Payload),
                content=hasher.hash(),
                count=count,
            )

    def _cut(self, buffer: bytearray) -> Iterator[bytearray]:
        """Yield the JSON of some rows at a time, without the brackets of the list. Leave the rest in the buffer."""
        while (end := buffer.find(_ROWS_END)) < 0:
            if (last := buffer.rfind(_BETWEEN_ROWS)) >= 0:
                yield buffer[: last + 1]
                del buffer[: last + 2]
            buffer += self._next_piece()
        yield buffer[:end]
        del buffer[:end]

    def _read_head(self) -> tuple[bytes, bytearray]:
        """Return the JSON before the rows, and the first part of the rest."""
        buffer = bytearray()
        while (start := buffer.find(_ROWS_BEGIN)) < 0:
            buffer += self._next_piece()
        return bytes(buffer[:start]), buffer[start + len(_ROWS_BEGIN) :]

    def _next_piece(self) -> bytes:
        for piece in self._text:
            return piece
        raise UnreadablePayload("it ends too early")


@contextmanager
def _refuse_bad_json() -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadablePayload(str(error)) from error


class _EncodedRows:
    """The rows of a payload in canonical form, decoded again on each pass."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = body

    def __iter__(self) -> Iterator[Row]:
        return Reader([self._body], TRUSTING).rows()


class _Compressor:
    """Compresses a text that comes in pieces. The result depends on the text alone."""

    def __init__(self) -> None:
        self._waiting: bytearray | None = bytearray()
        self._compressed = bytearray()
        self._stream = zstd.ZstdCompressor()

    def add(self, piece: bytes | memoryview) -> None:
        """Add a piece."""
        if self._waiting is not None:
            self._waiting += piece
            if len(self._waiting) <= _AT_ONCE_BYTES:
                return
            piece, self._waiting = memoryview(self._waiting), None
        self._compressed += self._stream.compress(piece)

    def finish(self) -> bytes | bytearray:
        """Return all of it."""
        if self._waiting is not None:
            return zstd.compress(self._waiting)
        self._compressed += self._stream.flush()
        return self._compressed


def compress(text: bytes) -> bytes | bytearray:
    """Return the JSON of a payload, compressed with zstd."""
    compressor = _Compressor()
    compressor.add(text)
    return compressor.finish()


def decompress(body: Iterable[bytes | bytearray]) -> Iterator[bytes]:
    """Yield the JSON of a payload that was compressed with zstd, in slices.

    Raises:
        UnreadablePayload: if the bytes turn out to be invalid; some text may have been yielded before.
    """
    stream = zstd.ZstdDecompressor()
    try:
        for piece in body:
            waiting: bytes | bytearray = piece
            while not stream.eof and (waiting or not stream.needs_input):
                yield stream.decompress(waiting, _SLICE_BYTES)
                waiting = b""
    except zstd.ZstdError as error:
        raise UnreadablePayload(str(error)) from error
    if not stream.eof:
        raise UnreadablePayload("it is cut off")


class _Head(msgspec.Struct):
    """The fields before the rows that their hash needs."""

    days_coverage: list[datetime.date]
