"""Verify tokens of the EIDA authentication system (EAS): signed texts that list the groups of a person.

GnuPG only receives a single signed document that `openpgp` has unpacked, because GnuPG is too lenient: it ignores
text before and after a document, and reads one or all of several documents. Old versions even accept unsigned text
after a form feed or the header NotDashEscaped (CVE-2025-68972 and https://gpg.fail/notdash).
"""

import datetime
import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import gnupg  # type: ignore[import-untyped]
import msgspec
from msgspec import Meta
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, MultipartDecoder

from eida_statistics.errors import ConfigurationError
from eida_statistics.validation import find_faults
from eida_stats_webservice.auth import openpgp
from eida_stats_webservice.errors import EasTooSlow, EasUnavailable, InvalidEasToken
from eida_stats_webservice.registry.models import GROUP_PREFIX, strip_group_prefix

# GnuPG truncates lines at about 20,000 bytes, and the rest of such a line is not signed.
MAX_DOCUMENT_BYTES = 16 * 1024

# For reading the keys when the service starts.
_SETUP_SECONDS = 30

_HINT = "Send the token's file as it is: curl --data-binary @FILE"

_KEYBOX = slice(8, 12), b"KBXf"
_OPTIONS = [
    # Use no options of the administrator, no other programs (some would keep running) and no network.
    "--no-options", "--no-autostart", "--no-auto-key-retrieve", "--no-auto-key-locate", "--disable-dirmngr",
    # Each call has its own home directory. The fingerprints decide which keys are trusted.
    "--lock-never", "--no-random-seed-file", "--trust-model", "always",
    # python-gnupg reads log messages and status lines from the same pipe. A log message may quote the document,
    # which could thus forge a status line. Status lines themselves escape spaces.
    "--logger-file", "/dev/null",
]  # fmt: skip

_MAX_OUTPUT = ["--max-output", str(openpgp.MAX_UNPACKED_BYTES)]
# A boundary has 1 to 70 characters (RFC 2046). A header follows it, unlike in a PGP document.
_MULTIPART = re.compile(
    rb"--(?!---BEGIN PGP )([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])\r?\n[!-9;-~]+:"
)

# python-gnupg logs every status line, which may quote documents, and warns about every refused token.
logging.getLogger(gnupg.__name__).setLevel(logging.CRITICAL)


class _Claims(msgspec.Struct):
    """The fields of a token that the service reads. It keeps nothing but the groups."""

    valid_until: Annotated[datetime.datetime, Meta(tz=True)]
    memberof: str | None = None


_EXPECTED = {"valid_until": "valid", "memberof": "valid"}
_BAD_CLAIMS = {
    ("valid_until", "missing"): "its signed text has no valid_until",
    ("valid_until", "not valid"): "its valid_until must be a time with a time zone, such as 2026-12-01T10:35:16Z",
    ("memberof", "not valid"): "its memberof must be text",
}


class Verifier:
    """Verifies tokens with gpg. Threads and forked processes can share it: it keeps no process and no open file.

    Each call creates and removes its own home directory, since cleaners of temporary files would delete a
    permanent one.

    Args:
        keyring: a file of public keys: a GnuPG keyring, or the output of `gpg --export`, armored or not.
        fingerprints: the fingerprints of the accepted keys (primary keys or signing subkeys).
        timeout: the seconds after which a verification is killed. It normally takes a few milliseconds.

    Raises:
        ConfigurationError: if gpg is not installed, the keyring cannot be read, or it lacks one of the keys.
    """

    def __init__(self, keyring: Path, fingerprints: Sequence[str], *, timeout: float = 1) -> None:
        self._gpg = _find_program("gpg", "gpg")
        self._program_timeout = _find_program("timeout", "coreutils")
        self._timeout = timeout
        self._fingerprints = frozenset(map(_parse_fingerprint, fingerprints))
        if not self._fingerprints:
            raise ConfigurationError(
                "EAS_KEYRING is set, but EAS_FINGERPRINTS is not",
                hint="Set EAS_FINGERPRINTS to the fingerprints of the accepted keys.",
            )
        if keyring == Path():
            raise ConfigurationError(
                "EAS_FINGERPRINTS is set, but EAS_KEYRING is not",
                hint="Set EAS_KEYRING to the file with these public keys.",
            )
        try:
            content = keyring.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"EAS_KEYRING {keyring} cannot be read: {error.strerror}") from error
        try:
            self._keys = self._export_keys(keyring, content)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"gpg does not work: {error}") from error

    def find_groups(self, body: bytes, clock: Callable[[], datetime.datetime]) -> frozenset[str]:
        """Return the groups of the person to whom a token belongs.

        Args:
            body: the token's document, or a form with this one file.
            clock: returns the time. It is called after gpg ends, since the token may expire in the meantime.

        Raises:
            InvalidEasToken: if the body is not a token, its signature is not accepted, or the token has expired.
            EasTooSlow: if gpg takes too long.
            EasUnavailable: if gpg cannot be run.
        """
        text = self._verify(_extract_document(body))
        claims = _parse_claims(text)
        if claims.valid_until <= clock():
            raise InvalidEasToken(f"it expired at {claims.valid_until.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
        return frozenset(_parse_groups(claims.memberof or ""))

    def _export_keys(self, keyring: Path, content: bytes) -> bytes:
        """Return an export of the accepted keys, so that gpg knows no others when it verifies."""
        keys = set()
        with _create_home() as home:
            where, magic = _KEYBOX
            if content[where] == magic:
                (home / "pubring.kbx").write_bytes(content)
            gpg = self._create_gpg(home, _SETUP_SECONDS)
            if content[where] != magic:
                gpg.import_keys(content)
            for fingerprint in sorted(self._fingerprints):
                key = gpg.export_keys(fingerprint, armor=False)
                if not key:
                    raise ConfigurationError(
                        f"EAS_KEYRING {keyring} lacks the key {fingerprint} of EAS_FINGERPRINTS",
                        hint=f"Write the file with gpg --export {fingerprint}.",
                    )
                keys.add(key)
        return b"".join(sorted(keys))

    def _verify(self, document: bytes) -> bytes:
        """Verify the signature of a document and return the signed text alone."""
        try:
            with _create_home() as home:
                # All versions of GnuPG read exported keys from a file of this name.
                (home / "pubring.gpg").write_bytes(self._keys)
                found = self._create_gpg(home, self._timeout).decrypt(document, extra_args=_MAX_OUTPUT)
        except (OSError, ValueError) as error:
            # On one line, since it goes to the log.
            raise EasUnavailable(f"gpg does not work: {' '.join(str(error).split())}") from error
        if found.returncode in (-9, 128 + 9):
            raise EasTooSlow(f"gpg took more than {self._timeout} s", hint="Try again later.")
        # With a single signature, the valid one and the accepted one are the same.
        if not (found.valid and found.returncode == 0 and len(found.sig_info) == 1 and not found.problems):
            raise InvalidEasToken(_explain_refusal(found))
        if self._fingerprints.isdisjoint({found.fingerprint, found.pubkey_fingerprint}):
            raise InvalidEasToken("it is signed with a key that is not accepted here")
        return bytes(found.data)

    def _create_gpg(self, home: Path, seconds: float) -> gnupg.GPG:
        limit = [self._program_timeout, "-s", "KILL", str(seconds)]
        return _LimitedGPG(limit, gpgbinary=self._gpg, gnupghome=str(home), options=_OPTIONS, env={"LC_ALL": "C"})


class _LimitedGPG(gnupg.GPG):  # type: ignore[misc]
    """Runs gpg under the program `timeout`, since python-gnupg waits without a limit."""

    def __init__(self, limit: list[str], **settings: object) -> None:
        self._limit = limit
        super().__init__(**settings)

    def make_args(self, args: list[str], passphrase: object) -> list[str]:
        """Return the command line."""
        return [*self._limit, *super().make_args(args, passphrase)]


def _find_program(name: str, package: str) -> str:
    if (path := shutil.which(name)) is None:
        raise ConfigurationError(
            f"EAS_KEYRING is set, but the program {name} is not installed",
            hint=f"Install it: apt-get install {package}. Or unset EAS_KEYRING and EAS_FINGERPRINTS.",
        )
    return path


def _parse_fingerprint(text: str) -> str:
    fingerprint = "".join(text.split()).upper()
    if re.fullmatch("[0-9A-F]{40}|[0-9A-F]{64}", fingerprint) is None:
        raise ConfigurationError(
            f"EAS_FINGERPRINTS contains {text.strip()!r}, which is not a fingerprint (40 or 64 hexadecimal digits)",
            hint="List the fingerprints of a key file: gpg --show-keys FILE.",
        )
    return fingerprint


@contextmanager
def _create_home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="eas-") as home:
        yield Path(home)


def _extract_document(body: bytes) -> bytes:
    """Return the signed document in a body, unpacked. The body may contain nothing else but white space."""
    content = _extract_part(body, match[1]) if (match := _MULTIPART.match(body)) else body
    document = content.strip() + b"\n"
    if b"-----BEGIN PGP " not in document:
        raise InvalidEasToken("it is not signed, or not ASCII-armored", hint=_HINT)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidEasToken(f"it is larger than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        return openpgp.unpack(document)
    except openpgp.MalformedDocument as error:
        raise InvalidEasToken(str(error), hint=_HINT) from None


def _extract_part(body: bytes, boundary: bytes) -> bytes:
    """Return the content of a form's only part. Browsers do not always declare a form in the header."""
    decoder = MultipartDecoder(boundary, max_parts=1)
    content = b""
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Data):
                content += event.data
    except RequestEntityTooLarge:
        raise InvalidEasToken("the form has more than one part", hint="Send only the token's file.") from None
    except ValueError:
        # The error may quote a header.
        raise InvalidEasToken("the form is damaged", hint=_HINT) from None
    return content


def _explain_refusal(found: gnupg.Crypt) -> str:
    statuses = {problem["status"] for problem in found.problems}
    if found.key_status is not None:
        return f"its {found.key_status}"
    if "no public key" in statuses:
        return "it is signed with a key that is not accepted here"
    if "signature bad" in statuses:
        return "its signature does not match the text"
    if "signature expired" in statuses:
        return "its signature has expired"
    if len(found.sig_info) > 1:
        return "it has more than one signature"
    return "it has no valid signature, or more than one signed text"


def _parse_claims(text: bytes) -> _Claims:
    try:
        try:
            return msgspec.json.decode(text, type=_Claims)
        except msgspec.ValidationError:
            faults = find_faults(msgspec.json.decode(text), _Claims, _EXPECTED)
            raise InvalidEasToken(_BAD_CLAIMS.get(next(faults), "its signed text is not a JSON object")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The error quotes the text.
        raise InvalidEasToken("its signed text is not JSON") from None


def _parse_groups(memberof: str) -> Iterator[str]:
    for entry in memberof.split(";"):
        if entry.startswith(GROUP_PREFIX) and entry != GROUP_PREFIX:
            yield strip_group_prefix(entry)
