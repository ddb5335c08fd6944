"""OpenPGP documents: one text with one signature in any framing, and nothing else."""

import bz2
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.auth.openpgp import MAX_UNPACKED_BYTES, MalformedDocument, unpack
from support.packets import BOMB, armor, compress, literal, packet

ONE_PASS = packet(4, bytes(13))
TEXT = literal(b'{"valid_until": "2026-12-01T10:35:16Z"}' * 10)
SIGNATURE = packet(2, bytes(range(200)))
SIGNED = ONE_PASS + TEXT + SIGNATURE
CLEARSIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n"


def deflate(content: bytes) -> bytes:
    return zlib.compress(content, 9)[2:-4]


def strip_header(packet: bytes) -> bytes:
    """Return the body of one of the packets above, whose header has six bytes."""
    return packet[6:]


def add_old_header(tag: int, length_type: int, content: bytes) -> bytes:
    length = b"" if length_type == 3 else len(content).to_bytes(1 << length_type, "big")
    return bytes([0x80 | tag << 2 | length_type]) + length + content


def add_two_octet_header(tag: int, content: bytes) -> bytes:
    length = len(content) - 192
    return bytes([0xC0 | tag, 192 + (length >> 8), length & 0xFF]) + content


def split_into_parts(tag: int, content: bytes, exponent: int) -> bytes:
    """Build a packet of partial lengths, as programs do that do not know the length in advance."""
    size = 1 << exponent
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    last = parts.pop() if len(parts[-1]) < min(size, 192) else b""
    return (
        bytes([0xC0 | tag]) + b"".join(bytes([224 | exponent]) + part for part in parts) + bytes([len(last)]) + last
    )


# Accepted documents

FRAMINGS = {
    "plain headers": SIGNED,
    "old headers of 1 byte": b"".join(
        [
            add_old_header(4, 0, strip_header(ONE_PASS)),
            add_old_header(11, 1, strip_header(TEXT)),
            add_old_header(2, 0, strip_header(SIGNATURE)),
        ]
    ),
    "old headers of 4 bytes": b"".join(
        [
            add_old_header(4, 2, strip_header(ONE_PASS)),
            add_old_header(11, 2, strip_header(TEXT)),
            add_old_header(2, 2, strip_header(SIGNATURE)),
        ]
    ),
    "new headers of 1 and 2 bytes": b"".join(
        [
            b"\xc4\x0d" + bytes(13),
            add_two_octet_header(11, strip_header(TEXT)),
            add_two_octet_header(2, strip_header(SIGNATURE)),
        ]
    ),
    "a text in parts": ONE_PASS + split_into_parts(11, strip_header(TEXT), 7) + SIGNATURE,
    "uncompressed in a packet": packet(8, b"\0" + SIGNED),
    "ZIP": packet(8, b"\1" + deflate(SIGNED)),
    "ZLIB": packet(8, b"\2" + zlib.compress(SIGNED)),
    "BZIP2": compress(SIGNED),
    "ZIP without a length, as gpg writes it": add_old_header(8, 3, b"\1" + deflate(SIGNED)),
    "ZIP in parts": split_into_parts(8, b"\1" + deflate(SIGNED), 5),
}


@pytest.mark.parametrize("name", FRAMINGS)
def test_all_framings_unpack_alike(name: str) -> None:
    assert unpack(armor(FRAMINGS[name])) == SIGNED


def test_text_of_the_largest_size_is_unpacked() -> None:
    most = MAX_UNPACKED_BYTES - len(ONE_PASS + literal(b"") + SIGNATURE)
    signed = ONE_PASS + literal(b"x" * most) + SIGNATURE
    assert len(signed) == MAX_UNPACKED_BYTES
    for algorithm, content in ((1, deflate(signed)), (2, zlib.compress(signed)), (3, bz2.compress(signed))):
        assert unpack(armor(packet(8, bytes([algorithm]) + content))) == signed


def test_clearsigned_document_stays_unchanged() -> None:
    document = CLEARSIGNED + armor(SIGNATURE, kind="SIGNATURE")
    assert unpack(document) == document


# Refused documents

DAMAGED = "it is damaged"
TRUNCATED = "a packet is truncated"
NO_LENGTH = "a packet has no length"
OTHERS = "it lacks packets, or has others"
TOO_MUCH = "larger than 65,536 bytes when decompressed"
NOT_UNPACKED = "it cannot be decompressed"
WRONG_END = "truncated or too long"

MALFORMED = {
    "a head alone": (b"\x84", TRUNCATED),
    "no packet": (b"\x3f" + SIGNED, "a packet has an invalid header"),
    "bytes behind the signature": (SIGNED + b"\0", "a packet has an invalid header"),
    "a packet without its length": (SIGNED[:-206] + b"\xc2", TRUNCATED),
    "a packet without its end": (SIGNED[:-1], TRUNCATED),
    "a length of half a number": (b"\xc4\xff\0\0", TRUNCATED),
    "an old length of half a number": (b"\x92\0\0", TRUNCATED),
    "a part without its end": (ONE_PASS + b"\xcb\xe9" + bytes(100), TRUNCATED),
    "no last part": (ONE_PASS + b"\xcb\xe5" + bytes(32), TRUNCATED),
    "very many parts": (ONE_PASS + b"\xcb" + b"\xe0x" * 1000 + b"\0" + SIGNATURE, "too many parts"),
    "a signature in parts": (ONE_PASS + TEXT + split_into_parts(2, strip_header(SIGNATURE), 5), NO_LENGTH),
    "a signature without a length": (ONE_PASS + TEXT + add_old_header(2, 3, strip_header(SIGNATURE)), NO_LENGTH),
    "a text without a length": (ONE_PASS + add_old_header(11, 3, strip_header(TEXT)) + SIGNATURE, OTHERS),
    "no text": (ONE_PASS + SIGNATURE, OTHERS),
    "no signature": (ONE_PASS + TEXT, OTHERS),
    "no announcement": (TEXT + SIGNATURE, OTHERS),
    "another order": (ONE_PASS + SIGNATURE + TEXT, OTHERS),
    "two texts": (ONE_PASS + TEXT + TEXT + SIGNATURE, OTHERS),
    "two signatures": (SIGNED + SIGNATURE, "more than one signature"),
    "two announcements": (ONE_PASS + SIGNED, "more than one signature"),
    "a marker": (packet(10, b"PGP") + SIGNED, OTHERS),
    "padding": (SIGNED + packet(21, b"x"), OTHERS),
    "a key": (packet(6, b"x") + SIGNED, OTHERS),
    "a tag of nothing": (packet(0, b"x") + SIGNED, OTHERS),
    "encrypted to a key": (packet(1, b"x") + packet(18, SIGNED), "it is encrypted"),
    "encrypted with a passphrase": (packet(3, b"x") + packet(9, SIGNED), "it is encrypted"),
    "encrypted and authenticated": (packet(20, SIGNED), "it is encrypted"),
    "encrypted within what is compressed": (compress(packet(18, SIGNED)), "it is encrypted"),
    "compressed twice": (compress(compress(SIGNED)), OTHERS),
    "compressed within a packet": (packet(8, b"\0" + compress(SIGNED)), OTHERS),
    "something after what is compressed": (compress(SIGNED) + TEXT, OTHERS),
    "something before what is compressed": (TEXT + compress(SIGNED), OTHERS),
    "a signature after what is compressed": (compress(ONE_PASS + TEXT) + SIGNATURE, OTHERS),
    "compressed nothing": (packet(8, b""), "compression algorithm is unknown"),
    "an unknown algorithm": (packet(8, b"\4" + SIGNED), "compression algorithm is unknown"),
    "no ZIP": (packet(8, b"\1" + SIGNED), NOT_UNPACKED),
    "no ZLIB": (packet(8, b"\2" + deflate(SIGNED)), NOT_UNPACKED),
    "no BZIP2": (packet(8, b"\3" + SIGNED), NOT_UNPACKED),
    "ZIP cut off": (packet(8, b"\1" + deflate(SIGNED)[:-1]), WRONG_END),
    "ZLIB cut off": (packet(8, b"\2" + zlib.compress(SIGNED)[:-1]), WRONG_END),
    "BZIP2 cut off": (packet(8, b"\3" + bz2.compress(SIGNED)[:-1]), WRONG_END),
    "ZIP and more": (packet(8, b"\1" + deflate(SIGNED) + b"\0"), WRONG_END),
    "ZLIB and more": (packet(8, b"\2" + zlib.compress(SIGNED) * 2), WRONG_END),
    "BZIP2 and more": (packet(8, b"\3" + bz2.compress(SIGNED) * 2), WRONG_END),
    "ZIP of nothing": (packet(8, b"\1" + deflate(b"")), OTHERS),
    "too much, uncompressed": (packet(8, b"\0" + ONE_PASS + literal(bytes(65_536)) + SIGNATURE), TOO_MUCH),
    "too much, ZIP": (packet(8, b"\1" + deflate(bytes(65_537))), TOO_MUCH),
    "too much, ZLIB": (packet(8, b"\2" + zlib.compress(bytes(65_537))), TOO_MUCH),
    "too much, BZIP2": (compress(bytes(65_537)), TOO_MUCH),
}


def read_reason(document: bytes) -> str:
    with pytest.raises(MalformedDocument) as refused:
        unpack(document)
    return str(refused.value)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_message_is_refused(name: str) -> None:
    content, reason = MALFORMED[name]
    assert reason in read_reason(armor(content))


@pytest.mark.parametrize("content", [b"", SIGNATURE * 2, SIGNED, TEXT, SIGNATURE + TEXT, compress(SIGNATURE)])
def test_clearsigned_has_one_signature_only(content: bytes) -> None:
    assert read_reason(CLEARSIGNED + armor(content, kind="SIGNATURE"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((b"\n=", b"\n=AAAA\n="), DAMAGED),
        ((b"\nx", b"\nA\nx"), "not base64"),
        ((b"\nx", b"\nxA==\nx"), "not base64"),
        ((b"\nx", b"\nxAAA\nx"), "its checksum is wrong"),
        ((b"MESSAGE-----\n\n", b"MESSAGE-----\n"), DAMAGED),
        ((b"BEGIN PGP MESSAGE", b"BEGIN PGP SIGNATURE"), DAMAGED),
        ((b"-----BEGIN", b"x\n-----BEGIN"), DAMAGED),
    ],
)
def test_damaged_armor_is_refused(change: tuple[bytes, bytes], reason: str) -> None:
    document = armor(SIGNED)
    changed = document.replace(*change)
    assert changed != document
    assert reason in read_reason(changed)


def test_armor_may_lack_its_checksum() -> None:
    lines = armor(SIGNED).splitlines(keepends=True)
    assert unpack(b"".join(line for line in lines if not line.startswith(b"="))) == SIGNED


@given(st.one_of(st.binary(), st.binary().map(armor)))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    assert read_reason(content)


heads = st.builds(lambda tag, length: bytes([tag, length]), st.integers(128, 255), st.integers(0, 255))
pieces = st.one_of(
    st.binary(max_size=40), heads, st.sampled_from([ONE_PASS, TEXT, SIGNATURE, compress(SIGNED), bytes(300)])
)
contents = st.lists(pieces, max_size=6).map(b"".join)


@given(
    contents,
    st.sampled_from([bytes, compress, lambda content: packet(8, b"\1" + deflate(content) + content[:1])]),
)
def test_arbitrary_packets_are_refused_or_plain(content: bytes, wrap: type[bytes]) -> None:
    try:
        unpacked = unpack(armor(wrap(content)))
    except MalformedDocument:
        return
    assert len(unpacked) <= MAX_UNPACKED_BYTES + 3 * len(packet(0, b""))
    assert unpack(armor(unpacked)) == unpacked


@pytest.mark.parametrize("algorithm", ["ZIP", "ZLIB", "BZIP2"])
def test_bomb_is_not_held_unpacked(algorithm: str) -> None:
    zeros = bytes(10_000_000)
    bomb = {
        "ZIP": armor(packet(8, b"\1" + deflate(zeros))),
        "ZLIB": armor(packet(8, b"\2" + zlib.compress(zeros, 9))),
        "BZIP2": BOMB,
    }[algorithm]
    tracemalloc.start()
    try:
        assert TOO_MUCH in read_reason(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A bzip2 decoder needs four bytes for each of the 900,000 bytes of a block, whatever it returns.
    assert peak < (5_000_000 if algorithm == "BZIP2" else 500_000)
