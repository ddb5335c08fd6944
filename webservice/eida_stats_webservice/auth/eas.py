"""Tokens of the EIDA authentication system (EAS): signed texts that name the groups to which a person belongs.

GnuPG gets one signed document that `openpgp` has unpacked, and nothing else. GnuPG itself is more lenient: it
leaves out what stands before and after a document, and of several documents it reads the first one or all of them.
Worse, older ones take text for signed that is not, behind a form feed or the header NotDashEscaped (CVE-2025-68972
and https://gpg.fail/notdash).
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
from eida_stats_webservice.registry.models import GROUP_PREFIX, group_name

# Not larger: GnuPG cuts lines of about 20,000 bytes, and does not count what it has cut as signed.
MAX_DOCUMENT_BYTES = 16 * 1024

# To read the keys, when the service starts.
_SETUP_SECONDS = 30

_HINT = "Send the token's file as it is: curl --data-binary @FILE"

_KEYBOX = slice(8, 12), b"KBXf"
_OPTIONS = [
    # Neither the administrator's options nor other programs, of which some would stay, nor the network.
    "--no-options", "--no-autostart", "--no-auto-key-retrieve", "--no-auto-key-locate", "--disable-dirmngr",
    # A home is for one call only. The fingerprints decide which keys are trusted.
    "--lock-never", "--no-random-seed-file", "--trust-model", "always",
    # python-gnupg reads messages for people from the same pipe as the status. They may quote a document, which
    # could so make up a status of its own. In the status itself spaces are escaped.
    "--logger-file", "/dev/null",
]  # fmt: skip

_MAX_OUTPUT = ["--max-output", str(openpgp.MAX_UNPACKED_BYTES)]
# RFC 2046 has 1 to 70 characters for a boundary; a header follows, as it does not in a PGP document.
_MULTIPART = re.compile(
    rb"--(?!---BEGIN PGP )([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])\r?\n[!-9;-~]+:"
)

# It would log each status, which may quote documents, and warn of each refusal.
logging.getLogger(gnupg.__name__).setLevel(logging.CRITICAL)


class Identity(msgspec.Struct, frozen=True):
    """The groups of a person; nothing else is known."""

    groups: frozenset[str]


class _Claims(msgspec.Struct):
    """The fields of a token's text that are used."""

    valid_until: Annotated[datetime.datetime, Meta(tz=True)]
    memberof: str | None = None


_EXPECTED = {"valid_until": "valid", "memberof": "valid"}
_BAD_CLAIMS = {
    ("valid_until", "missing"): "its signed text has no valid_until",
    ("valid_until", "not valid"): "its valid_until is no time with a time zone, such as 2026-12-01T10:35:16Z",
    ("memberof", "not valid"): "its memberof is no text",
}


class Verifier:
    """Verifies tokens with gpg. It holds no process and no file, so that threads and forks may share it.

    Each call has a home directory of its own, which is removed. One that stayed would be removed some day by
    whatever tidies up temporary files.

    Args:
        keyring: a file of public keys: a keyring of GnuPG, or the output of `gpg --export`, armored or not.
        fingerprints: of the keys whose signatures count, each of a primary key or of a subkey that signs.
        timeout: seconds after which gpg is killed when it verifies a token; it takes some milliseconds.

    Raises:
        ConfigurationError: if there is no gpg, the keyring cannot be read, or not all of these keys are in it.
    """

    def __init__(self, keyring: Path, fingerprints: Sequence[str], *, timeout: float = 1) -> None:
        self._gpg = _program("gpg", "gpg")
        self._program_timeout = _program("timeout", "coreutils")
        self._timeout = timeout
        self._fingerprints = frozenset(map(_fingerprint, fingerprints))
        if not self._fingerprints:
            raise ConfigurationError(
                "EAS_KEYRING is set, and EAS_FINGERPRINTS is not", hint="Name the keys whose signatures count."
            )
        if keyring == Path():
            raise ConfigurationError(
                "EAS_FINGERPRINTS is set, and EAS_KEYRING is not", hint="Name the file that has these public keys."
            )
        try:
            content = keyring.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"EAS_KEYRING, {keyring}: {error.strerror}") from error
        try:
            self._keys = self._accepted(keyring, content)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"gpg does not work: {error}") from error

    def identify(self, body: bytes, clock: Callable[[], datetime.datetime]) -> Identity:
        """Return the person to whom a token belongs.

        Args:
            body: the token's document; a form with this one file will do as well.
            clock: returns the time; it is asked when gpg has ended, since the token may expire until then.

        Raises:
            InvalidEasToken: if it is none, its signature does not count, or it is not valid any more.
            EasTooSlow: if gpg takes too long.
            EasUnavailable: if gpg cannot be run.
        """
        text = self._signed_text(_document(body))
        claims = _claims(text)
        if claims.valid_until <= clock():
            raise InvalidEasToken(f"it expired at {claims.valid_until.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}")
        return Identity(groups=frozenset(_groups(claims.memberof or "")))

    def _accepted(self, keyring: Path, content: bytes) -> bytes:
        """Return the accepted keys, as they are exported: gpg shall not know any other."""
        keys = set()
        with _home() as home:
            where, magic = _KEYBOX
            if content[where] == magic:
                (home / "pubring.kbx").write_bytes(content)
            gpg = self._open(home, _SETUP_SECONDS)
            if content[where] != magic:
                gpg.import_keys(content)
            for fingerprint in sorted(self._fingerprints):
                key = gpg.export_keys(fingerprint, armor=False)
                if not key:
                    raise ConfigurationError(
                        f"the key {fingerprint} of EAS_FINGERPRINTS is not in EAS_KEYRING, {keyring}",
                        hint=f"Make the file with gpg --export {fingerprint}.",
                    )
                keys.add(key)
        return b"".join(sorted(keys))

    def _signed_text(self, document: bytes) -> bytes:
        """Return the signed text, and nothing around it."""
        try:
            with _home() as home:
                # All versions of GnuPG know a file of exported keys by this name.
                (home / "pubring.gpg").write_bytes(self._keys)
                found = self._open(home, self._timeout).decrypt(document, extra_args=_MAX_OUTPUT)
        except (OSError, ValueError) as error:
            # In one line, as it goes to the log.
            raise EasUnavailable(f"gpg does not work: {' '.join(str(error).split())}") from error
        if found.returncode in (-9, 128 + 9):
            raise EasTooSlow(f"gpg took more than {self._timeout} s", hint="Try again later.")
        # One signature, so that it is the accepted one that is valid.
        if not (found.valid and found.returncode == 0 and len(found.sig_info) == 1 and not found.problems):
            raise InvalidEasToken(_reason(found))
        if self._fingerprints.isdisjoint({found.fingerprint, found.pubkey_fingerprint}):
            raise InvalidEasToken("it is signed with a key that is not accepted here")
        return bytes(found.data)

    def _open(self, home: Path, seconds: float) -> gnupg.GPG:
        limit = [self._program_timeout, "-s", "KILL", str(seconds)]
        return _LimitedGPG(limit, gpgbinary=self._gpg, gnupghome=str(home), options=_OPTIONS, env={"LC_ALL": "C"})


class _LimitedGPG(gnupg.GPG):  # type: ignore[misc]
    """gpg, run by another program: `timeout`, since python-gnupg waits for ever."""

    def __init__(self, limit: list[str], **settings: object) -> None:
        self._limit = limit
        super().__init__(**settings)

    def make_args(self, args: list[str], passphrase: object) -> list[str]:
        """Make the command line."""
        return [*self._limit, *super().make_args(args, passphrase)]


def _program(name: str, package: str) -> str:
    if (path := shutil.which(name)) is None:
        raise ConfigurationError(
            f"EAS_KEYRING is set, and there is no program {name}",
            hint=f"Install it: apt-get install {package}. Or unset EAS_KEYRING and EAS_FINGERPRINTS.",
        )
    return path


def _fingerprint(text: str) -> str:
    fingerprint = "".join(text.split()).upper()
    if re.fullmatch("[0-9A-F]{40}|[0-9A-F]{64}", fingerprint) is None:
        raise ConfigurationError(
            f"EAS_FINGERPRINTS has {text.strip()!r}, and must have fingerprints of 40 or 64 hexadecimal digits",
            hint="gpg --show-keys FILE shows them.",
        )
    return fingerprint


@contextmanager
def _home() -> Iterator[Path]:
    """Make a private home directory for gpg, and remove it with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="eas-") as home:
        yield Path(home)


def _document(body: bytes) -> bytes:
    """Return the one signed document in a body, unpacked.

    Raises:
        InvalidEasToken: if it is damaged, or there is anything else in the body but white space around it.
    """
    content = _only_part(body, match[1]) if (match := _MULTIPART.match(body)) else body
    document = content.strip() + b"\n"
    if b"-----BEGIN PGP " not in document:
        raise InvalidEasToken("it is not signed, or not ASCII-armored", hint=_HINT)
    if len(document) > MAX_DOCUMENT_BYTES:
        raise InvalidEasToken(f"it is larger than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        return openpgp.unpack(document)
    except openpgp.MalformedDocument as error:
        raise InvalidEasToken(str(error), hint=_HINT) from None


def _only_part(body: bytes, boundary: bytes) -> bytes:
    """Return the content of a form's only part; browsers do not always say that it is a form."""
    decoder = MultipartDecoder(boundary, max_parts=1)
    content = b""
    try:
        decoder.receive_data(body)
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Data):
                content += event.data
    except RequestEntityTooLarge:
        raise InvalidEasToken("the form has more than one part", hint="Send the token's file alone.") from None
    except ValueError:
        # The error may quote a header.
        raise InvalidEasToken("the form is damaged", hint=_HINT) from None
    return content


def _reason(found: gnupg.Crypt) -> str:
    """Return why a signature does not count."""
    told = {problem["status"] for problem in found.problems}
    if found.key_status is not None:
        return f"its {found.key_status}"
    if "no public key" in told:
        return "it is signed with a key that is not accepted here"
    if "signature bad" in told:
        return "its signature is not valid: the text is not what was signed"
    if "signature expired" in told:
        return "its signature has expired"
    if len(found.sig_info) > 1:
        return "it has more than one signature"
    return "it has no valid signature, or more than one signed text"


def _claims(text: bytes) -> _Claims:
    try:
        try:
            return msgspec.json.decode(text, type=_Claims)
        except msgspec.ValidationError:
            faults = find_faults(msgspec.json.decode(text), _Claims, _EXPECTED)
            raise InvalidEasToken(_BAD_CLAIMS.get(next(faults), "its signed text is not a JSON object")) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The error has what it could not read.
        raise InvalidEasToken("its signed text is not JSON") from None


def _groups(memberof: str) -> Iterator[str]:
    for entry in memberof.split(";"):
        if entry.startswith(GROUP_PREFIX) and entry != GROUP_PREFIX:
            yield group_name(entry)
