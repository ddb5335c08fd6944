"""Tokens of the EIDA authentication system, signed with real gpg and manipulated in many ways."""

import contextlib
import datetime
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.auth import eas
from eida_stats_webservice.auth.eas import Verifier
from eida_stats_webservice.errors import EasTooSlow, EasUnavailable, InvalidEasToken
from support.packets import BOMB, armor, compress, literal, packet
from support.signer import GPG, note_starts, replace_gpg

NOW = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)
CLAIMS = {
    "valid_until": "2026-12-01T10:35:16.100Z",
    "cn": "Petra Person",
    "memberof": "/epos/alparray;/epos/alparray-owners;/epos;/",
    "sn": "Person",
    "issued": "2026-11-01T10:35:16.100Z",
    "mail": "petra@person.example",
    "givenName": "Petra",
    "c": "IT",
}
TEXT = json.dumps(CLAIMS).encode()
FORGED = json.dumps(CLAIMS | {"memberof": "/epos/forged"}).encode()
GROUPS = frozenset({"alparray", "alparray-owners"})

LONG_AGO = ("--faked-system-time", "20200101T000000!")


class Keys:
    """A home with secret keys, one for each role; the name of a role is part of its user ID."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.fingerprints: dict[str, str] = {}
        for role in ("accepted", "second", "other", "unknown", "revoked", "parted"):
            self._make(role, "never")
        self._make("expired", "1d")
        self.gpg("--quick-add-key", self.fingerprints["unknown"], "cv25519", "encr", "never")
        self.gpg("--quick-add-key", self.fingerprints["parted"], "ed25519", "sign", "never")
        listed = self.gpg("--list-keys", "--with-colons", self.fingerprints["parted"]).decode()
        self.subkey = re.findall(r"^fpr:+(\w+):", listed, re.MULTILINE)[1]
        # gpg stores a revocation with a leading colon, so that nobody imports it by mistake.
        revocation = home / "openpgp-revocs.d" / f"{self.fingerprints['revoked']}.rev"
        self.revoked_document = self.clearsign("revoked")
        self.gpg("--import", data=revocation.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))

    def gpg(self, *args: str, data: bytes = b"") -> bytes:
        command = [GPG, "--homedir", str(self.home), "--batch", "--no-tty", "--trust-model", "always"]
        secret = ["--pinentry-mode", "loopback", "--passphrase", "secret" if "--symmetric" in args else ""]
        return subprocess.run([*command, *secret, *args], input=data, capture_output=True, check=True).stdout

    def _make(self, role: str, expires: str) -> None:
        user = f"{role} <{role}@keys.example>"
        self.gpg(*LONG_AGO, "--quick-generate-key", user, "ed25519", "sign", expires)
        listed = self.gpg("--list-keys", "--with-colons", f"{role}@keys.example").decode()
        self.fingerprints[role] = re.findall(r"^fpr:+(\w+):", listed, re.MULTILINE)[0]

    def clearsign(self, role: str = "accepted", text: bytes = TEXT, *options: str) -> bytes:
        return self.gpg("-u", f"{role}@keys.example", *options, "--clearsign", data=text)

    def sign_inline(self, role: str = "accepted", text: bytes = TEXT, *options: str) -> bytes:
        return self.gpg("-u", f"{role}@keys.example", *options, "--armor", "--sign", data=text)

    def packets(self, role: str = "accepted", text: bytes = TEXT) -> list[bytes]:
        """Return the announcement of a signature, the text, and the signature, one packet each."""
        return split(self.gpg("-u", f"{role}@keys.example", "-z", "0", "--sign", data=text))

    def export(self, *roles: str) -> bytes:
        return self.gpg("--export", *(self.fingerprints[role] for role in roles))


def noon() -> datetime.datetime:
    return NOW


def split(packets: bytes) -> list[bytes]:
    found = []
    while packets:
        # The tag of an old packet has the number of its length bytes.
        if not packets[0] & 0x40:
            start = 2 + (packets[0] & 3)
            end = start + int.from_bytes(packets[1:start], "big")
        elif packets[1] < 192:
            end = 2 + packets[1]
        else:
            end = 3 + ((packets[1] - 192) << 8) + packets[2] + 192
        found.append(packets[:end])
        packets = packets[end:]
    assert len(found) == 3
    return found


def insert_header(document: bytes, header: bytes) -> bytes:
    return re.sub(rb"(?m)^(Hash: .*\n)", rb"\1" + header + b"\n", document, count=1)


def forge_signature(signer: bytes) -> bytes:
    """Build an invalid signature with any user ID."""
    hashed = b"\x05\x02" + bytes(4) + bytes([1 + len(signer), 28]) + signer
    unhashed = b"\x09\x10" + b"\1" * 8
    lengths = [len(part).to_bytes(2, "big") + part for part in (hashed, unhashed)]
    return packet(2, bytes([4, 0, 22, 8]) + b"".join(lengths) + b"\0\0" + b"\0\x08\xff" * 2)


def form(content: bytes, boundary: bytes = b"----WebKitFormBoundaryAbCdEf0123456789", *more: bytes) -> bytes:
    headers = (
        b'Content-Disposition: form-data; name="file"; filename="token.asc"\r\nContent-Type: text/plain\r\n\r\n'
    )
    parts = [b"--" + boundary + b"\r\n" + headers + part + b"\r\n" for part in (content, *more)]
    return b"".join(parts) + b"--" + boundary + b"--\r\n"


def list_processes(place: Path) -> list[str]:
    """Return the commands of all processes that mention a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(place) in command:
            found.append(command)
    return found


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    # Not in pytest's directory: the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        try:
            yield Keys(Path(home))
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


@pytest.fixture(scope="module")
def keyring(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keyring") / "eas.gpg"
    file.write_bytes(keys.export("accepted", "second", "other", "expired", "revoked", "parted"))
    return file


@pytest.fixture(scope="module")
def verifier(keys: Keys, keyring: Path) -> Verifier:
    roles = ("accepted", "second", "expired", "revoked")
    return Verifier(keyring, [keys.fingerprints[role] for role in roles])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let temporary homes be created in an empty directory."""
    place = tmp_path / "homes"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def read_refusal(verifier: Verifier, body: bytes, clock: Callable[[], datetime.datetime] = noon) -> str:
    with pytest.raises(InvalidEasToken) as refused:
        verifier.find_groups(body, clock)
    text = str(refused.value)
    assert not re.search(r"petra|person|example|alparray|forged", text, re.IGNORECASE)
    return text


# Accepted documents

GOOD: dict[str, Callable[[Keys], bytes]] = {
    "clearsigned": lambda keys: keys.clearsign(),
    "inline": lambda keys: keys.sign_inline(),
    "inline, not compressed": lambda keys: keys.sign_inline("accepted", TEXT, "-z", "0"),
    "inline, compressed otherwise": lambda keys: keys.sign_inline("accepted", TEXT, "--compress-algo", "bzip2"),
    "inline, compressed with zlib": lambda keys: keys.sign_inline("accepted", TEXT, "--compress-algo", "zlib"),
    "inline, in text mode": lambda keys: keys.sign_inline("accepted", TEXT, "--textmode"),
    "signed with another accepted key": lambda keys: keys.sign_inline("second"),
    "with a comment and a version": lambda keys: keys.sign_inline(
        "accepted", TEXT, "--comment", "é", "--emit-version"
    ),
    "signed packets": lambda keys: armor(*keys.packets()),
    "line ends of Windows, clearsigned": lambda keys: keys.clearsign().replace(b"\n", b"\r\n"),
    "line ends of Windows, inline": lambda keys: keys.sign_inline().replace(b"\n", b"\r\n"),
    "white space around": lambda keys: b"\n \r\n" + keys.sign_inline() + b"\n\n\t ",
    "no line end at the end": lambda keys: keys.clearsign().rstrip(),
    "pretty JSON": lambda keys: keys.clearsign("accepted", json.dumps(CLAIMS, indent="\t").encode()),
    "text of several lines with a dash": lambda keys: keys.clearsign(
        "accepted", b'{"x":\n-1,' + TEXT.removeprefix(b"{") + b"\n\n"
    ),
    "a boundary of Chrome": lambda keys: form(keys.clearsign()),
    "a boundary of Firefox": lambda keys: form(
        keys.sign_inline(), b"---------------------------735323031399963166993862150"
    ),
    "a boundary of a newer Firefox": lambda keys: form(keys.sign_inline(), b"----geckoformboundary27d6d3a7c5ee0f"),
    "a boundary of curl": lambda keys: form(keys.clearsign(), b"------------------------d74496d66958873e"),
    "a boundary of requests": lambda keys: form(keys.sign_inline(), b"0f8b1b0d7c8c4f6f9f0e9a6b1c2d3e4f"),
    "a form's field that is no file": lambda keys: form(keys.sign_inline()).replace(b'; filename="token.asc"', b""),
}


@pytest.mark.parametrize("name", GOOD)
def test_signed_token_has_groups(keys: Keys, verifier: Verifier, name: str) -> None:
    assert verifier.find_groups(GOOD[name](keys), noon) == GROUPS


def test_only_groups_are_kept(keys: Keys, verifier: Verifier) -> None:
    assert verifier.find_groups(keys.clearsign(), noon) == GROUPS


# Refused documents

OUTSIDE = "nothing before or after"
NOT_ONE = "no valid signature, or more than one signed text"
CHANGED = "does not match the text"
NOT_ACCEPTED = "signed with a key that is not accepted"
# These are refused before gpg starts.
OTHER_PACKETS = "it lacks packets, or has others"
TWO_SIGNATURES = "more than one signature"
ENCRYPTED = "it is encrypted"
TOO_MUCH = "larger than 65,536 bytes when decompressed"

BAD: dict[str, tuple[Callable[[Keys], bytes], str]] = {
    "nothing": (lambda _: b"", "not signed"),
    "not signed": (lambda _: TEXT, "not signed"),
    "not signed, in a form": (lambda _: form(TEXT), "not signed"),
    "not armored": (lambda keys: b"".join(keys.packets()), "not ASCII-armored"),
    "not armored, compressed": (lambda keys: compress(b"".join(keys.packets())), "not ASCII-armored"),
    "random bytes": (lambda _: os.urandom(500), "not signed"),
    "text before, clearsigned": (lambda keys: FORGED + b"\n" + keys.clearsign(), OUTSIDE),
    "text before, inline": (lambda keys: FORGED + b"\n" + keys.sign_inline(), OUTSIDE),
    "text after, clearsigned": (lambda keys: keys.clearsign() + FORGED, OUTSIDE),
    "text after, inline": (lambda keys: keys.sign_inline() + FORGED, OUTSIDE),
    "text before, in a form": (lambda keys: form(FORGED + b"\n" + keys.clearsign()), OUTSIDE),
    "the same document twice": (lambda keys: keys.clearsign() * 2, OUTSIDE),
    "the same message twice": (lambda keys: keys.sign_inline() * 2, OUTSIDE),
    "a document and a message": (lambda keys: keys.clearsign() + keys.sign_inline(), OUTSIDE),
    "a message and a document": (lambda keys: keys.sign_inline() + keys.clearsign(), OUTSIDE),
    "a good and an unknown signer's": (lambda keys: keys.clearsign() + keys.clearsign("unknown"), OUTSIDE),
    "an unknown and a good signer's": (lambda keys: keys.clearsign("unknown") + keys.clearsign(), OUTSIDE),
    "two documents, one signature": (
        lambda keys: keys.clearsign().split(b"-----BEGIN PGP SIGNATURE")[0] + keys.clearsign(),
        OUTSIDE,
    ),
    "one document, two signatures": (
        lambda keys: keys.clearsign() + keys.clearsign("second").partition(b"}\n")[2],
        OUTSIDE,
    ),
    "detached": (lambda keys: keys.gpg("-u", "accepted", "--armor", "--detach-sign", data=TEXT), OUTSIDE),
    "detached, with its text": (
        lambda keys: TEXT + keys.gpg("-u", "accepted", "--armor", "--detach-sign", data=TEXT),
        OUTSIDE,
    ),
    "detached, armored as a message": (lambda keys: armor(keys.packets()[2]), OTHER_PACKETS),
    "a public key": (lambda keys: keys.gpg("--armor", "--export", "accepted"), OUTSIDE),
    "cut off": (lambda keys: keys.sign_inline()[:-60], OUTSIDE),
    "line ends lost": (lambda keys: keys.sign_inline().replace(b"\n", b""), OUTSIDE),
    "line ends of old": (lambda keys: keys.clearsign().replace(b"\n", b"\r"), OUTSIDE),
    "NUL in the text": (lambda keys: keys.clearsign().replace(b"}\n", b"}\0\n"), OUTSIDE),
    "form feed in the text": (lambda keys: keys.clearsign("accepted", TEXT + b"\n\f\n"), OUTSIDE),
    "header NotDashEscaped": (lambda keys: keys.clearsign("accepted", TEXT, "--not-dash-escaped"), OUTSIDE),
    "header NotDashEscaped put in": (lambda keys: insert_header(keys.clearsign(), b"NotDashEscaped: x"), OUTSIDE),
    "text among the headers": (lambda keys: insert_header(keys.clearsign(), b"Comment: " + FORGED), OUTSIDE),
    "text as a hash": (lambda keys: insert_header(keys.clearsign(), b"Hash: {}"), OUTSIDE),
    "a dash that is not escaped": (lambda keys: keys.clearsign().replace(b"\n\n{", b"\n\n--\n{", 1), OUTSIDE),
    "larger than lines may be": (
        lambda keys: keys.clearsign().replace(b"}\n", b"}" + b" " * 20_000 + FORGED + b"\n"),
        "larger than 16,384",
    ),
    "tampered, clearsigned": (lambda keys: keys.clearsign().replace(TEXT, FORGED), CHANGED),
    "tampered, inline": (
        lambda keys: armor(b"".join(keys.packets()).replace(b"alparray", b"ALPARRAY")),
        CHANGED,
    ),
    "tampered, the text exchanged": (
        lambda keys: armor(keys.packets()[0], literal(FORGED), keys.packets()[2]),
        CHANGED,
    ),
    "text appended": (lambda keys: keys.clearsign().replace(TEXT, TEXT + b"\n" + FORGED), CHANGED),
    "text put before": (lambda keys: keys.clearsign().replace(TEXT, FORGED + b"\n" + TEXT), CHANGED),
    "headers made text": (lambda keys: insert_header(keys.clearsign(), b""), CHANGED),
    "no header": (lambda keys: re.sub(rb"Hash: .*\n", b"", keys.clearsign()), NOT_ONE),
    "another hash": (lambda keys: re.sub(rb"Hash: .*\n", b"Hash: SHA1\n", keys.clearsign()), NOT_ONE),
    "a wrong checksum": (
        lambda keys: re.sub(rb"(?m)^=....$", b"=AAAA", keys.sign_inline()),
        "its checksum is wrong",
    ),
    "a key that is not accepted": (lambda keys: keys.clearsign("other"), NOT_ACCEPTED),
    "an unknown key": (lambda keys: keys.sign_inline("unknown"), NOT_ACCEPTED),
    "an expired key": (
        lambda keys: keys.clearsign("expired", TEXT, *LONG_AGO),
        "its signing key has expired",
    ),
    "a revoked key": (lambda keys: keys.revoked_document, "its signing key was revoked"),
    "a signature that has expired": (
        lambda keys: keys.clearsign("accepted", TEXT, "--default-sig-expire", "1d", *LONG_AGO),
        "its signature has expired",
    ),
    "signed also with an unknown key": (
        lambda keys: keys.clearsign("accepted", TEXT, "-u", "unknown"),
        TWO_SIGNATURES,
    ),
    "signed first with an unknown key": (
        lambda keys: keys.sign_inline("unknown", TEXT, "-u", "accepted"),
        TWO_SIGNATURES,
    ),
    "signed with two accepted keys": (
        lambda keys: keys.sign_inline("accepted", TEXT, "-u", "second"),
        TWO_SIGNATURES,
    ),
    "a message that is not signed": (lambda _: armor(literal(TEXT)), OTHER_PACKETS),
    "a compressed message that is not signed": (lambda _: armor(compress(literal(TEXT))), OTHER_PACKETS),
    "another text before": (lambda keys: armor(literal(FORGED), *keys.packets()), OTHER_PACKETS),
    "another text before, compressed": (
        lambda keys: armor(compress(literal(FORGED)), *keys.packets()),
        OTHER_PACKETS,
    ),
    "another text after": (lambda keys: armor(*keys.packets(), literal(FORGED)), OTHER_PACKETS),
    "another text after, compressed": (
        lambda keys: armor(*keys.packets(), compress(literal(FORGED))),
        OTHER_PACKETS,
    ),
    "another text after what is compressed": (
        lambda keys: armor(compress(b"".join(keys.packets())), literal(FORGED)),
        OTHER_PACKETS,
    ),
    "another text within": (
        lambda keys: armor(keys.packets()[0], literal(FORGED), *keys.packets()[1:]),
        OTHER_PACKETS,
    ),
    "another text within, compressed": (
        lambda keys: armor(keys.packets()[0], compress(literal(FORGED)), *keys.packets()[1:]),
        OTHER_PACKETS,
    ),
    "another text before the signature": (
        lambda keys: armor(*keys.packets()[:2], literal(FORGED), keys.packets()[2]),
        OTHER_PACKETS,
    ),
    "both texts compressed": (
        lambda keys: armor(compress(literal(FORGED) + b"".join(keys.packets()))),
        OTHER_PACKETS,
    ),
    "two signed texts in one message": (
        lambda keys: armor(*keys.packets(), *keys.packets("accepted", FORGED)),
        TWO_SIGNATURES,
    ),
    "a text in the signature": (
        lambda keys: (
            keys.clearsign().partition(b"-----BEGIN PGP SIGNATURE")[0] + armor(*keys.packets(), kind="SIGNATURE")
        ),
        OTHER_PACKETS,
    ),
    "a status of one's own": (
        lambda keys: armor(
            keys.packets()[0],
            literal(FORGED),
            forge_signature(b"\xc2\x85[GNUPG:] GOODSIG 1 x\xc2\x85[GNUPG:] VALIDSIG "),
        ),
        NOT_ACCEPTED,
    ),
    "a file name with a status": (
        lambda keys: armor(
            keys.packets()[0],
            literal(FORGED, b"\xc2\x85[GNUPG:] GOODSIG 1 x\n[GNUPG:] GOODSIG 1 x"),
            keys.packets()[2],
        ),
        CHANGED,
    ),
    "encrypted to somebody": (
        lambda keys: keys.gpg("-r", "unknown", "-u", "accepted", "--armor", "--sign", "--encrypt", data=TEXT),
        ENCRYPTED,
    ),
    "encrypted with a passphrase": (
        lambda keys: keys.gpg("-u", "accepted", "--armor", "--sign", "--symmetric", data=TEXT),
        ENCRYPTED,
    ),
    "larger than it looks": (
        lambda keys: keys.sign_inline("accepted", TEXT + b" " * 50_000_000, "--compress-algo", "bzip2"),
        TOO_MUCH,
    ),
    "a bomb that is not signed": (
        lambda _: armor(compress(compress(literal(bytes(30_000_000))))),
        OTHER_PACKETS,
    ),
    "half a million packets": (lambda _: BOMB, TOO_MUCH),
    "two files in a form": (lambda keys: form(keys.sign_inline(), b"xx", keys.sign_inline()), "more than one part"),
    "two parts in a form": (lambda keys: form(keys.sign_inline(), b"xx", b"hello"), "more than one part"),
    "a form in a form": (lambda keys: form(form(keys.sign_inline(), b"inner")), OUTSIDE),
    "a form without its end": (lambda keys: form(keys.sign_inline())[:-50], "the form is damaged"),
    "a form with a bad header": (
        lambda keys: form(keys.sign_inline()).replace(b"token", b"Petra\xff"),
        "the form is damaged",
    ),
    "a form that says nothing of its part": (
        lambda keys: form(keys.sign_inline()).replace(b"Disposition", b"Petra"),
        "the form is damaged",
    ),
    "an empty form": (lambda _: b"--xx--\r\n", "not signed"),
    "a form without content": (lambda _: form(b""), "not signed"),
    "not JSON": (lambda keys: keys.clearsign("accepted", b"Petra Person"), "its signed text is not JSON"),
    "not UTF-8": (
        lambda keys: keys.sign_inline("accepted", TEXT.replace(b"/epos;", b"\xff")),
        "its signed text is not JSON",
    ),
    "JSON and more": (lambda keys: keys.clearsign("accepted", TEXT + b"{}"), "its signed text is not JSON"),
    "no object": (lambda keys: keys.clearsign("accepted", b"[" + TEXT + b"]"), "not a JSON object"),
    "deep JSON": (
        lambda keys: keys.sign_inline("accepted", b'{"x":' + b"[" * 50_000),
        "its signed text is not JSON",
    ),
    "empty text": (lambda keys: keys.clearsign("accepted", b""), "its signed text is not JSON"),
    "no valid_until": (
        lambda keys: keys.clearsign("accepted", b'{"memberof": "/epos/alparray"}'),
        "no valid_until",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_document_is_refused(keys: Keys, verifier: Verifier, name: str) -> None:
    make, reason = BAD[name]
    assert reason in read_refusal(verifier, make(keys))


@pytest.fixture(scope="module")
def documents(keys: Keys) -> list[bytes]:
    return [keys.clearsign(), keys.sign_inline(), armor(*keys.packets())]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_changed_token_is_refused_or_equal(documents: list[bytes], verifier: Verifier, data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(documents))
    at = data.draw(st.integers(0, len(document)))
    cut = data.draw(st.integers(0, 3))
    piece = data.draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([b"\n", b"\n\n", b"- ", b"--", b" ", b"A", b"="]))
    )
    with contextlib.suppress(InvalidEasToken):
        assert verifier.find_groups(document[:at] + piece + document[at + cut :], noon) == GROUPS


# Contents of a token


@pytest.mark.parametrize(
    ("valid_until", "text"),
    [
        ("2026-11-24T12:00:00.001Z", None),
        ("2026-11-24T12:00:01Z", None),
        ("2026-11-24T12:00:01+00:00", None),
        ("2026-11-24T12:00:01.123456+00:00", None),
        ("2026-11-24T12:00:01.123456789Z", None),
        ("2026-11-24T13:00:01+01:00", None),
        ("2026-11-24T12:00:00Z", "it expired at 2026-11-24T12:00:00Z"),
        ("2026-11-24T11:59:59.999Z", "it expired at 2026-11-24T11:59:59Z"),
        ("2026-11-24T12:59:59+01:00", "it expired at 2026-11-24T11:59:59Z"),
        ("2016-11-24T12:00:00+00:00", "it expired at 2016-11-24T12:00:00Z"),
        ("2026-12-24T12:00:00", "its valid_until must be a time with a time zone"),
        ("2026-12-24", "its valid_until must be a time with a time zone"),
        ("2026-13-24T12:00:00Z", "its valid_until must be a time with a time zone"),
        ("Petra", "its valid_until must be a time with a time zone"),
        ("", "its valid_until must be a time with a time zone"),
        (None, "its valid_until must be a time with a time zone"),
        (4102444800, "its valid_until must be a time with a time zone"),
    ],
)
def test_token_expires(keys: Keys, verifier: Verifier, valid_until: object, text: str | None) -> None:
    document = keys.sign_inline("accepted", json.dumps(CLAIMS | {"valid_until": valid_until}).encode())
    if text is None:
        assert verifier.find_groups(document, noon) == GROUPS
    else:
        assert text in read_refusal(verifier, document)


@pytest.mark.parametrize(
    ("memberof", "groups"),
    [
        ("/epos/alparray", {"alparray"}),
        ("/epos/alparray-owners", {"alparray-owners"}),
        ("/epos/alparray;/epos/other", {"alparray", "other"}),
        ("/epos/alparray;/epos/alparray;", {"alparray"}),
        ("/epos/AlpArray; /epos/x;/epos/ y ", {"AlpArray", " y "}),
        ("/epos/alparray/part", {"alparray/part"}),
        ("/epos//epos/x", {"/epos/x"}),
        ("/epos;/epos/;/;;", set()),
        ("epos/alparray;/eposx/alparray;/other/epos/alparray;alparray;/EPOS/alparray", set()),
        ("/epos/alparray,/epos/other", {"alparray,/epos/other"}),
        ("/epos/größe", {"größe"}),
        ("", set()),
        (None, set()),
    ],
)
def test_groups_are_matched_exactly(keys: Keys, verifier: Verifier, memberof: str | None, groups: set[str]) -> None:
    document = keys.clearsign("accepted", json.dumps(CLAIMS | {"memberof": memberof}).encode())
    assert verifier.find_groups(document, noon) == groups


def test_missing_memberof_means_no_groups(keys: Keys, verifier: Verifier) -> None:
    document = keys.clearsign("accepted", b'{"valid_until": "2026-12-01T10:35:16Z"}')
    assert verifier.find_groups(document, noon) == frozenset()


@pytest.mark.parametrize("memberof", [5, ["/epos/alparray"], {"/epos/alparray": 1}, True])
def test_groups_must_be_text(keys: Keys, verifier: Verifier, memberof: object) -> None:
    document = keys.clearsign("accepted", json.dumps(CLAIMS | {"memberof": memberof}).encode())
    assert "its memberof must be text" in read_refusal(verifier, document)


# Keys


def test_all_keyring_formats_are_read(keys: Keys, tmp_path: Path) -> None:
    roles = [keys.fingerprints["other"], keys.fingerprints["accepted"]]
    (tmp_path / "exported").write_bytes(keys.gpg("--export", *roles))
    (tmp_path / "armored").write_bytes(keys.gpg("--export", "--armor", *roles))
    (tmp_path / "of.kbx").write_bytes((keys.home / "pubring.kbx").read_bytes())
    old = tmp_path / "old.gpg"
    old.touch()  # gpg takes an empty file for a keyring of the old format
    ring = ["--no-default-keyring", "--keyring"]
    keys.gpg(*ring, str(old), "--import", data=keys.gpg("--export", *roles))
    for name in ("exported", "armored", "of.kbx", "old.gpg"):
        verifier = Verifier(tmp_path / name, [keys.fingerprints["accepted"]])
        assert verifier.find_groups(keys.clearsign(), noon) == GROUPS
        assert NOT_ACCEPTED in read_refusal(verifier, keys.clearsign("other"))


def test_keyring_is_read_once(keys: Keys, tmp_path: Path) -> None:
    file = tmp_path / "eas.gpg"
    file.write_bytes(keys.export("accepted"))
    file.chmod(0o400)
    verifier = Verifier(file, [keys.fingerprints["accepted"]])
    file.unlink()
    assert verifier.find_groups(keys.clearsign(), noon) == GROUPS


@pytest.mark.parametrize("change", [str.lower, lambda text: f" {text[:4]} {text[4:20]}  {text[20:]}\n"])
def test_fingerprints_may_have_spaces_and_small_letters(
    keys: Keys, keyring: Path, change: Callable[[str], str]
) -> None:
    verifier = Verifier(keyring, [change(keys.fingerprints["accepted"])])
    assert verifier.find_groups(keys.clearsign(), noon) == GROUPS


def test_primary_key_covers_its_subkeys(keys: Keys, keyring: Path) -> None:
    primary, by_subkey = keys.fingerprints["parted"], keys.clearsign("parted")
    by_primary = keys.gpg("-u", f"{primary}!", "--clearsign", data=TEXT)
    of_primary, of_subkey = Verifier(keyring, [primary]), Verifier(keyring, [keys.subkey])
    assert of_primary.find_groups(by_primary, noon) == of_primary.find_groups(by_subkey, noon) == GROUPS
    assert of_subkey.find_groups(by_subkey, noon) == GROUPS
    assert NOT_ACCEPTED in read_refusal(of_subkey, by_primary)
    both = keys.gpg("-u", f"{primary}!", "-u", f"{keys.subkey}!", "--clearsign", data=TEXT)
    assert "more than one signature" in read_refusal(of_subkey, both)


@pytest.mark.parametrize(
    "fingerprint",
    ["", "0x1234", "143CFF5E55779EFD", "G" * 40, "A" * 39, "A" * 41, "A" * 63, "accepted@keys.example", "Ａ" * 40],
)
def test_bad_fingerprint_is_refused(keyring: Path, fingerprint: str) -> None:
    with pytest.raises(ConfigurationError, match=r"EAS_FINGERPRINTS contains .*40 or 64 hexadecimal digits"):
        Verifier(keyring, [fingerprint])


@pytest.mark.parametrize("digits", [40, 64])
def test_missing_key_is_named(keys: Keys, keyring: Path, digits: int) -> None:
    with pytest.raises(
        ConfigurationError, match=f"EAS_KEYRING .*eas.gpg lacks the key {'A' * digits} of EAS_FINGERPRINTS"
    ):
        Verifier(keyring, [keys.fingerprints["accepted"], "A" * digits])


def test_missing_setting_is_named(keys: Keys, keyring: Path) -> None:
    with pytest.raises(ConfigurationError, match="EAS_KEYRING is set, but EAS_FINGERPRINTS is not"):
        Verifier(keyring, [])
    with pytest.raises(ConfigurationError, match="EAS_FINGERPRINTS is set, but EAS_KEYRING is not"):
        Verifier(Path(), [keys.fingerprints["accepted"]])


@pytest.mark.parametrize("content", [b"", b"no keys", bytes(100), bytes(8) + b"KBXf" + bytes(100), b"\x99" * 5000])
def test_bad_keyring_is_refused(keys: Keys, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"EAS_KEYRING .*file lacks the key"):
        Verifier(tmp_path / "file", [keys.fingerprints["accepted"]])


def test_unreadable_keyring_is_named(keys: Keys, tmp_path: Path) -> None:
    for path, text in ((tmp_path / "none", "none cannot be read: No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError, match=f"EAS_KEYRING .*{text}"):
            Verifier(path, [keys.fingerprints["accepted"]])


# gpg


@pytest.mark.parametrize("name", ["gpg", "timeout"])
def test_missing_program_is_named(
    keys: Keys, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in {"gpg", "timeout"} - {name}:
        (tmp_path / other).symlink_to(shutil.which(other) or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConfigurationError, match=f"program {name} is not installed\nInstall it.* unset EAS_KEYRING"
    ):
        Verifier(keyring, [keys.fingerprints["accepted"]])


def test_broken_gpg_is_reported(keys: Keys, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_gpg(tmp_path / "bin", monkeypatch, "exit 3")
    with pytest.raises(ConfigurationError, match="gpg does not work"):
        Verifier(keyring, [keys.fingerprints["accepted"]])


def test_removed_gpg_makes_eas_unavailable(
    keys: Keys, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_gpg(tmp_path / "bin", monkeypatch, 'exec $GPG "$@"')
    verifier = Verifier(keyring, [keys.fingerprints["accepted"]])
    (tmp_path / "bin/gpg").unlink()
    with pytest.raises(EasUnavailable, match="gpg does not work"):
        verifier.find_groups(keys.clearsign(), noon)


def test_hanging_gpg_is_killed(
    keys: Keys, keyring: Path, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_gpg(tmp_path / "bin", monkeypatch, 'case "$*" in *--decrypt*) sleep 60;; *) exec $GPG "$@";; esac')
    verifier = Verifier(keyring, [keys.fingerprints["accepted"]], timeout=1)
    with pytest.raises(EasTooSlow, match="gpg took more than 1 s"):
        verifier.find_groups(keys.clearsign(), noon)
    assert not list_processes(place)
    assert not list(place.iterdir())


def test_malformed_tokens_do_not_start_gpg(
    keys: Keys, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = note_starts(tmp_path, monkeypatch)
    verifier = Verifier(keyring, [keys.fingerprints["accepted"]])
    started.unlink()
    for make, reason in BAD.values():
        if reason in (OUTSIDE, OTHER_PACKETS, TWO_SIGNATURES, ENCRYPTED, TOO_MUCH):
            read_refusal(verifier, make(keys))
    assert not started.exists()
    verifier.find_groups(keys.sign_inline(), noon)
    assert started.exists()


def test_token_expiring_during_gpg_is_refused(
    keys: Keys, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = tmp_path / "ended"
    replace_gpg(tmp_path / "bin", monkeypatch, f'$GPG "$@"; code=$?; touch {ended}; exit $code')
    verifier = Verifier(keyring, [keys.fingerprints["accepted"]])
    ended.unlink()

    def clock() -> datetime.datetime:
        return NOW + datetime.timedelta(days=7 if ended.exists() else 0)

    assert "it expired at 2026-12-01T10:35:16Z" in read_refusal(verifier, keys.sign_inline(), clock)


def test_no_files_or_processes_are_left(keys: Keys, keyring: Path, place: Path) -> None:
    secret = place.parent / "secret"
    secret.write_bytes(keys.gpg("--export-secret-keys", keys.fingerprints["accepted"]))
    for file in (keyring, secret):
        verifier = Verifier(file, [keys.fingerprints["accepted"]])
        assert verifier.find_groups(keys.sign_inline(), noon) == GROUPS
        for name in ("encrypted to somebody", "encrypted with a passphrase", "an unknown key", "random bytes"):
            read_refusal(verifier, BAD[name][0](keys))
        assert not list(place.iterdir())
        assert not list_processes(place)


def test_gpg_starts_no_other_program(keys: Keys, keyring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An agent would outlive its home. This home stays, and its path is short enough for a socket.
    with tempfile.TemporaryDirectory(prefix="home-", dir="/tmp") as home:
        monkeypatch.setattr(eas, "_create_home", lambda: contextlib.nullcontext(Path(home)))
        verifier = Verifier(keyring, [keys.fingerprints["accepted"]])
        assert verifier.find_groups(keys.sign_inline(), noon) == GROUPS
        for name in ("encrypted to somebody", "encrypted with a passphrase", "an unknown key", "random bytes"):
            read_refusal(verifier, BAD[name][0](keys))
        assert not list_processes(Path(home))
        assert not list(Path(home).glob("S.*"))


def test_gpg_homes_are_private_and_empty(
    keys: Keys, keyring: Path, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    script = f'stat -c "%a %n" {place}/* >> {seen}; echo "$GNUPGHOME$HOME" >> {seen}; exec $GPG "$@"'
    replace_gpg(tmp_path / "bin", monkeypatch, script)
    monkeypatch.setenv("GNUPGHOME", str(keys.home))
    verifier = Verifier(keyring, [keys.fingerprints["accepted"]])
    assert verifier.find_groups(keys.clearsign(), noon) == GROUPS
    assert NOT_ACCEPTED in read_refusal(verifier, keys.clearsign("unknown"))
    homes = set(seen.read_text().splitlines()) - {""}
    assert len(homes) == 3
    assert all(re.fullmatch(f"700 {place}/eas-\\w+", home) for home in homes)


def test_threads_verify_concurrently(keys: Keys, verifier: Verifier) -> None:
    documents = []
    for number in range(20):
        text = json.dumps(CLAIMS | {"memberof": f"/epos/group{number}"}).encode()
        documents.append((keys.sign_inline("accepted", text), frozenset([f"group{number}"])))
        documents.append((keys.sign_inline("other", text), None))

    def groups(document: bytes) -> frozenset[str] | None:
        try:
            return verifier.find_groups(document, noon)
        except InvalidEasToken:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(groups, [document for document, _ in documents] * 3))
    assert found == [expected for _, expected in documents] * 3


def test_verifier_works_after_a_fork(keys: Keys, keyring: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(keys.clearsign())
    script = """
import datetime, os, pathlib, sys
from eida_stats_webservice.auth.eas import Verifier

verifier = Verifier(pathlib.Path(sys.argv[1]), [sys.argv[2]])

def find_groups():
    noon = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
    return verifier.find_groups(pathlib.Path(sys.argv[3]).read_bytes(), lambda: noon)

children = []
for _ in range(3):
    if (child := os.fork()) == 0:
        # As a worker ends: with what is to be done at the end.
        sys.exit(0 if len(find_groups()) == 2 else 1)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
print(len(find_groups()))
"""
    arguments = [str(keyring), keys.fingerprints["accepted"], str(tmp_path / "token")]
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("2\n", "")


def test_tokens_are_not_logged(keys: Keys, verifier: Verifier, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    verifier.find_groups(keys.sign_inline("accepted", TEXT, "--set-filename", "petra.json"), noon)
    for name in ("an unknown key", "tampered, clearsigned", "a file name with a status", "not JSON"):
        read_refusal(verifier, BAD[name][0](keys))
    assert caplog.records == []


def test_refusal_names_the_remedy(verifier: Verifier) -> None:
    text = read_refusal(verifier, TEXT)
    assert text.startswith("This is not a valid token of the EIDA authentication system: it is not signed")
    assert "curl --data-binary @FILE" in text
    assert (InvalidEasToken.http_status, InvalidEasToken.problem) == (401, "invalid-eas-token")
    assert (EasUnavailable.http_status, EasUnavailable.problem) == (503, "eas-unavailable")
