"""Numbers and hashes that stand for clients and records, and the key that they are made with.

The key is SeisComP's `userSalt`, so that clients of both services count once, or else a random one. With another
key, all clients and records look new.

Source of the number of a client: `Tracker` in SeisComP's apps/fdsnws/fdsnws/reqlog.py.
"""

import base64
import hashlib
import hmac
import ipaddress
import os
import secrets
import tempfile
from functools import lru_cache
from pathlib import Path

from eida_statistics.files import TEMPORARY_SUFFIX, sync_directory
from eida_statistics.hll import hash_client
from eida_statistics.ringserver.errors import UnusableUserSalt
from eida_statistics.user import get_data_directory

HOST_HASH_LENGTH = 12
DIGEST_SIZE = 16
_FINGERPRINT_SIZE = 8
# 64 bits, which are 16 hexadecimal digits.
_CONNECTION_SIZE = 8
_MAX_SALT_SIZE = 4096
# Of a server with many clients; each takes some hundred bytes.
_CACHED_ADDRESSES = 1 << 16


class ClientKey:
    """Replaces addresses and records by numbers and hashes.

    Args:
        salt: SeisComP's `userSalt`, or the random key of this node.
    """

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        key = salt if len(salt) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(salt).digest()
        self._digest = hashlib.blake2b(key=key, digest_size=DIGEST_SIZE)
        self._fingerprint = hashlib.blake2b(key=key, digest_size=_FINGERPRINT_SIZE, person=b"fingerprint")
        self._session = hashlib.blake2b(key=key, digest_size=_CONNECTION_SIZE, person=b"session")
        self._line = hashlib.blake2b(key=key, digest_size=_CONNECTION_SIZE, person=b"line")
        self.hash_client = lru_cache(_CACHED_ADDRESSES)(self._hash_client)
        self.hash_host = lru_cache(_CACHED_ADDRESSES)(self._hash_host)
        self.hash_address = lru_cache(_CACHED_ADDRESSES)(self._hash_address)
        self.hash_session = lru_cache(_CACHED_ADDRESSES)(self._hash_session)

    def compute_number(self, address: str) -> int:
        """Return the `userID` that SeisComP logs for an anonymous client with this address."""
        salted = self._salt + _encode_address(address)
        return int.from_bytes(hashlib.md5(salted, usedforsecurity=False).digest()[:4])

    def _hash_client(self, address: str) -> int:
        """Return the hash of a client for sketches."""
        return hash_client(self.compute_number(address))

    def _hash_host(self, address: str) -> str:
        """Return 12 characters that stand for an address. They never leave the database of the node."""
        return base64.b64encode(self._authenticate(address))[:HOST_HASH_LENGTH].decode()

    def _hash_address(self, address: str) -> str:
        """Return 16 hexadecimal digits that stand for an address: the first 64 bits of the host hash."""
        return self._authenticate(address)[:_CONNECTION_SIZE].hex()

    def _hash_session(self, address: str, port: int, connected: int) -> str:
        """Return 16 hexadecimal digits that stand for sessions of one address, port and second since 1970.

        Nobody without the key can see which sessions have the same address.
        """
        digest = self._session.copy()
        # The numbers come first, since an address may be text of any kind.
        digest.update(b"%d %d " % (port, connected) + _encode_address(address))
        return digest.hexdigest()

    def hash_line(self, line: bytes) -> str:
        """Return 16 hexadecimal digits that stand for a line of a log, or a piece of it."""
        digest = self._line.copy()
        digest.update(line)
        return digest.hexdigest()

    def _authenticate(self, address: str) -> bytes:
        return hmac.digest(self._salt, _encode_address(address), "sha256")

    def compute_digest(self, content: bytes) -> bytes:
        """Return 16 bytes that stand for the content of a record."""
        digest = self._digest.copy()
        digest.update(content)
        return digest.digest()

    def compute_fingerprint(self) -> str:
        """Return 16 hexadecimal digits that differ between keys. The key cannot be computed from them."""
        return self._fingerprint.hexdigest()


@lru_cache(_CACHED_ADDRESSES)
def normalize_address(text: str) -> str:
    """Return an address as all programs write it.

    `::ffff:192.0.2.7` is `192.0.2.7`, and zones such as `%eth0` are dropped.

    Returns:
        the text itself if it is no address.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _encode_address(address: str) -> bytes:
    # Text that is no address may have any encoding.
    return normalize_address(address).encode(errors="surrogatepass")


def load_key(path: Path) -> ClientKey:
    """Return the key in a file. Blanks and line breaks around it are no part of it.

    Raises:
        UnusableUserSalt: if it cannot be read, is empty, or has several lines.
    """
    try:
        with path.open("rb") as file:
            salt = file.read(_MAX_SALT_SIZE + 1).strip()
    except OSError as error:
        raise UnusableUserSalt(f"{path}: {error.strerror}") from error
    # The file may be the configuration of SeisComP by mistake.
    if not salt or len(salt) > _MAX_SALT_SIZE or len(salt.splitlines()) > 1:
        raise UnusableUserSalt(
            f"{path} is {'empty' if not salt else 'not one line'}",
            hint="Write the value of `userSalt` in SeisComP's fdsnws.cfg into this file, and nothing else.",
        )
    return ClientKey(salt)


def get_key_path() -> Path:
    """Return where the random key of this user is kept."""
    return get_data_directory() / "ringserver-key"


def create_key(path: Path) -> bool:
    """Write a random key into a file that only its owner can read, unless the file exists.

    If two processes do so at once, one of them creates the file. It never lacks a part of the key.

    Returns:
        whether this call has created the file.

    Raises:
        UnusableUserSalt: if it cannot be written.
    """
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _create_file(path, f"{secrets.token_hex()}\n")
    except OSError as error:
        raise UnusableUserSalt(f"cannot create {path}: {error.strerror}") from error


def _create_file(path: Path, content: str) -> bool:
    # Only its owner can read a file of this function, whatever the umask.
    descriptor, temporary = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Unlike a renamed file, a link never replaces the key of another process.
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        Path(temporary).unlink()
    sync_directory(path.parent)
    return True
