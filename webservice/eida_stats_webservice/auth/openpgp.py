"""Parse signed OpenPGP documents (RFC 9580), as far as needed to check that they have one text and one signature.

GnuPG is more lenient, and it decompresses without a limit: a message of one kilobyte can keep it busy for seconds.
So messages are checked and decompressed here, within limits, before GnuPG reads them.
"""

import base64
import binascii
import bz2
import re
import zlib
from typing import NamedTuple

MAX_UNPACKED_BYTES = 64 * 1024

_SIGNATURE, _ONE_PASS_SIGNATURE, _COMPRESSED, _LITERAL = 2, 4, 8, 11
_SIGNED_TEXT = [_ONE_PASS_SIGNATURE, _LITERAL, _SIGNATURE]
_ENCRYPTED = {1, 3, 9, 18, 20}
# Only these packets may have partial or indeterminate lengths.
_STREAMED = {_COMPRESSED, _LITERAL}
# 128 parts of 512 bytes, the smallest first part that the standard allows, make up MAX_UNPACKED_BYTES.
_MAX_PARTS = 128

_END = rb"[ \t]*\r?\n"
_FIELDS = rb"(?:[A-Za-z]+:[^\x00-\x1f\x7f]*\r?\n)*"
_RADIX64 = rb"(?P<radix64>(?:[A-Za-z0-9+/]{1,76}={0,2}%(end)b)+)(?:=(?P<checksum>[A-Za-z0-9+/]{4})%(end)b)?" % {
    b"end": _END
}
_ARMOR = rb"-----BEGIN PGP %(kind)b-----%(end)b%(fields)b%(end)b%(radix64)b-----END PGP %(kind)b-----%(end)b"
_PARTS = {b"end": _END, b"fields": _FIELDS, b"radix64": _RADIX64}
_INLINE = re.compile(_ARMOR % {b"kind": b"MESSAGE", **_PARTS})
_CLEARSIGNED = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----%(end)b"
    # The standard has no other header. GnuPG's NotDashEscaped is not accepted.
    rb"(?:Hash: [A-Za-z0-9, -]+\r?\n)*%(end)b"
    # The text has no control characters except tabs, and no unescaped dash at the start of a line.
    rb"(?:(?:(?!-)|- )[^\x00-\x08\x0a-\x1f\x7f]*\r?\n)*" % _PARTS + _ARMOR % {b"kind": b"SIGNATURE", **_PARTS}
)


class MalformedDocument(ValueError):
    """A document that is not one text with one signature. The message has the reason, but no quotation."""


class _Packet(NamedTuple):
    tag: int
    body: bytes


def unpack(document: bytes) -> bytes:
    """Return a signed document without compression.

    A clear-signed document is returned unchanged. A message, which may be one compressed packet, is returned as its
    one-pass signature, text and signature with plain headers, so that GnuPG cannot interpret it differently.

    Raises:
        MalformedDocument: if the document is neither, is damaged, has other packets, or is larger than
            `MAX_UNPACKED_BYTES`.
    """
    if (armor := _CLEARSIGNED.fullmatch(document)) is not None:
        _check_packets(_read_packets(_decode_armor(armor)), [_SIGNATURE])
        return document
    if (armor := _INLINE.fullmatch(document)) is None:
        raise MalformedDocument(
            "it is damaged, or is not one PGP signed document or message with nothing before or after it"
        )
    packets = _read_packets(_decode_armor(armor))
    if [packet.tag for packet in packets] == [_COMPRESSED]:
        packets = _read_packets(_decompress(packets[0].body))
    _check_packets(packets, _SIGNED_TEXT)
    return b"".join(map(_encode_packet, packets))


def _decode_armor(armor: re.Match[bytes]) -> bytes:
    lines = b"".join(armor["radix64"].split())
    try:
        content = base64.b64decode(lines, validate=True)
    except binascii.Error:
        raise MalformedDocument("it is damaged: its armor is not base64") from None
    if armor["checksum"] is not None and base64.b64decode(armor["checksum"]) != _compute_crc24(content):
        raise MalformedDocument("it is damaged: its checksum is wrong")
    return content


def _make_crc24_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 16
        for _ in range(8):
            value = value << 1 ^ (0x1864CFB if value & 0x800000 else 0)
        table.append(value)
    return table


_CRC24_TABLE = _make_crc24_table()


def _compute_crc24(content: bytes) -> bytes:
    """Return the checksum of an armor (RFC 9580, section 6.1.1)."""
    value = 0xB704CE
    for byte in content:
        value = (value << 8 & 0xFFFFFF) ^ _CRC24_TABLE[value >> 16 ^ byte]
    return value.to_bytes(3, "big")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.remaining:
            raise MalformedDocument("it is damaged: a packet is truncated")
        self._at += count
        return self._data[self._at - count : self._at]

    def take_number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def _read_packets(data: bytes) -> list[_Packet]:
    """Return the packets of data (RFC 9580, section 4.2); stop one packet beyond the number that is allowed."""
    reader = _Reader(data)
    packets: list[_Packet] = []
    while reader.remaining and len(packets) <= len(_SIGNED_TEXT):
        packets.append(_read_packet(reader))
    return packets


def _read_packet(reader: _Reader) -> _Packet:
    head = reader.take_number(1)
    if not head & 0x80:
        raise MalformedDocument("it is damaged: a packet has an invalid header")
    tag = head & 0x3F if head & 0x40 else head >> 2 & 0xF
    return _Packet(tag, _read_new_body(reader, tag) if head & 0x40 else _read_old_body(reader, tag, head & 3))


def _read_old_body(reader: _Reader, tag: int, length_type: int) -> bytes:
    if length_type < 3:
        return reader.take(reader.take_number(1 << length_type))
    _check_may_stream(tag)
    return reader.take(reader.remaining)


def _read_new_body(reader: _Reader, tag: int) -> bytes:
    parts: list[bytes] = []
    while 224 <= (first := reader.take_number(1)) < 255:
        _check_may_stream(tag)
        if len(parts) == _MAX_PARTS:
            raise MalformedDocument("it is damaged: a packet has too many parts")
        parts.append(reader.take(1 << (first & 0x1F)))
    if first < 192:
        length = first
    elif first < 224:
        length = (first - 192 << 8) + reader.take_number(1) + 192
    else:
        length = reader.take_number(4)
    return b"".join([*parts, reader.take(length)])


def _check_may_stream(tag: int) -> None:
    if tag not in _STREAMED:
        raise MalformedDocument("it is damaged: a packet has no length")


def _decompress(body: bytes) -> bytes:
    """Return the content of a compressed packet (RFC 9580, section 5.6)."""
    algorithm, packed = body[:1], body[1:]
    decompressor: zlib._Decompress | bz2.BZ2Decompressor
    if algorithm == b"\0":
        return _check_size(packed)
    if algorithm == b"\1":
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    elif algorithm == b"\2":
        decompressor = zlib.decompressobj()
    elif algorithm == b"\3":
        decompressor = bz2.BZ2Decompressor()
    else:
        raise MalformedDocument("its compression algorithm is unknown")
    try:
        content = _check_size(decompressor.decompress(packed, MAX_UNPACKED_BYTES + 1))
    except (zlib.error, OSError):
        raise MalformedDocument("it is damaged: it cannot be decompressed") from None
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedDocument("it is damaged: its compressed data are truncated or too long")
    return content


def _check_size(content: bytes) -> bytes:
    if len(content) > MAX_UNPACKED_BYTES:
        raise MalformedDocument(f"it is larger than {MAX_UNPACKED_BYTES:,} bytes when decompressed")
    return content


def _check_packets(packets: list[_Packet], expected: list[int]) -> None:
    tags = [packet.tag for packet in packets]
    if tags == expected:
        return
    if _ENCRYPTED.intersection(tags):
        raise MalformedDocument("it is encrypted")
    if tags.count(_SIGNATURE) > 1 or tags.count(_ONE_PASS_SIGNATURE) > 1:
        raise MalformedDocument("it has more than one signature")
    raise MalformedDocument("it is not one signed text: it lacks packets, or has others")


def _encode_packet(packet: _Packet) -> bytes:
    return bytes([0xC0 | packet.tag, 0xFF]) + len(packet.body).to_bytes(4, "big") + packet.body
