"""Hashes of clients and records, and the key that they are made with."""

import base64
import hashlib
import hmac
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.ringserver.errors import UnusableUserSalt
from eida_statistics.ringserver.identity import ClientKey, create_key, get_key_path, load_key, normalize_address

KEY = ClientKey(b"secret")


def compute_user_id(salt: str, address: str) -> int:
    """Do what SeisComP's `reqlog.py` does for a client that has not logged in."""
    return int(hashlib.md5((salt + address).encode()).hexdigest()[:8], 16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:C000:207%2", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("192.0.2.07", "192.0.2.07"),
        ("unknown%1", "unknown%1"),
        ("", ""),
    ],
)
def test_addresses_have_one_form(text: str, expected: str) -> None:
    assert normalize_address(text) == expected
    assert normalize_address(expected) == expected


@given(st.text(), st.ip_addresses().map(str) | st.text())
def test_number_is_the_user_id_of_seiscomp(salt: str, address: str) -> None:
    number = ClientKey(salt.encode()).compute_number(address)

    assert number == compute_user_id(salt, normalize_address(address))


def test_text_of_another_encoding_has_hashes() -> None:
    assert KEY.hash_client("h\udcf4te") != KEY.hash_client("h\udcf5te")
    assert KEY.hash_host("h\udcf4te") != KEY.hash_host("h\udcf5te")


def test_client_hash_is_that_of_request_logs() -> None:
    assert KEY.hash_client("::ffff:192.0.2.7") == hll.hash_client(compute_user_id("secret", "192.0.2.7"))
    assert KEY.hash_client("::ffff:192.0.2.7") == KEY.hash_client("192.0.2.7") != KEY.hash_client("192.0.2.8")


def test_host_hash_is_a_part_of_an_hmac() -> None:
    full = base64.b64encode(hmac.digest(b"secret", b"192.0.2.7", "sha256")).decode()

    assert KEY.hash_host("::ffff:192.0.2.7") == full[:12]
    assert ClientKey(b"other").hash_host("192.0.2.7") != full[:12]


@pytest.mark.parametrize("salt", [b"s", b"s" * 64, b"s" * 65, b"s" * 1000])
def test_digest_depends_on_key_and_content(salt: bytes) -> None:
    key = ClientKey(salt)
    blake_key = salt if len(salt) <= 64 else hashlib.blake2b(salt).digest()

    assert key.compute_digest(b"content") == hashlib.blake2b(b"content", key=blake_key, digest_size=16).digest()
    assert key.compute_digest(b"content") == ClientKey(salt).compute_digest(b"content")
    assert key.compute_digest(b"content") != key.compute_digest(b"Content")
    assert key.compute_digest(b"content") != ClientKey(salt + b"s").compute_digest(b"content")


def test_fingerprints_differ_between_keys() -> None:
    fingerprints = {ClientKey(salt).compute_fingerprint() for salt in (b"s", b"t", b"s" * 64, b"s" * 65)}

    assert len(fingerprints) == 4
    assert {len(one) for one in fingerprints} == {16}
    assert KEY.compute_fingerprint() == ClientKey(b"secret").compute_fingerprint()
    assert "secret" not in repr(KEY)


@pytest.mark.parametrize("content", [b"secret", b"secret\n", b"  secret\r\n\n"])
def test_salt_is_the_line_of_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "salt").write_bytes(content)

    assert load_key(tmp_path / "salt").compute_fingerprint() == KEY.compute_fingerprint()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b" \n", "is empty"),
        (b"userSalt = secret\nother = 1\n", "is not one line"),
        (b"s" * 4097, "is not one line"),
        (None, "No such file"),
    ],
)
def test_unusable_salt_is_explained(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "salt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableUserSalt, match=reason) as caught:
        load_key(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_key_is_created_once_for_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = get_key_path()
    modes = []
    link = Path.hardlink_to

    def record_mode(new: Path, target: str) -> None:
        modes.append(stat.S_IMODE(Path(target).stat().st_mode))
        link(new, target)

    monkeypatch.setattr(Path, "hardlink_to", record_mode)
    before = os.umask(0)
    try:
        assert create_key(path)
    finally:
        os.umask(before)

    key = load_key(path)
    assert not create_key(path)
    assert load_key(path).compute_fingerprint() == key.compute_fingerprint()
    assert modes == [0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_key_that_cannot_be_created_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnusableUserSalt, match=r"cannot create .*/file/key: (Not a directory|File exists)"):
        create_key(tmp_path / "file" / "key")


def test_keys_created_at_once_are_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    barrier = threading.Barrier(8)
    results: list[tuple[bool, str]] = []

    def create() -> None:
        barrier.wait()
        created = create_key(path)
        results.append((created, load_key(path).compute_fingerprint()))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(created for created, _ in results) == [False] * 7 + [True]
    assert len({fingerprint for _, fingerprint in results}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_address_hash_is_the_beginning_of_the_host_hash() -> None:
    digits = KEY.hash_address("::ffff:192.0.2.7")
    host = base64.b64decode(KEY.hash_host("192.0.2.7"))
    assert bytes.fromhex(digits) == host[:8]
    assert digits == KEY.hash_address("192.0.2.7")


def test_session_hash_has_address_port_and_time() -> None:
    sessions = [("192.0.2.7", 18000, 5), ("192.0.2.8", 18000, 5), ("192.0.2.7", 18001, 5), ("192.0.2.7", 18000, 6)]
    digits = {KEY.hash_session(*one) for one in sessions}
    assert len(digits) == len(sessions)
    assert all(len(one) == 16 for one in digits)
    assert KEY.hash_session("::ffff:192.0.2.7", 18000, 5) in digits
    assert ClientKey(b"other").hash_session("192.0.2.7", 18000, 5) not in digits


@given(st.text(), st.binary())
def test_hashes_of_connections_have_nothing_in_common(address: str, line: bytes) -> None:
    assert len({KEY.hash_session(address, 1, 1), KEY.hash_address(address), KEY.hash_line(line)}) == 3
