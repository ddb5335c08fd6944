"""Sign tokens as the EIDA authentication system does, with a test key; replace gpg by a script."""

import datetime
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from support import issued

# Looked up once, since tests put other programs in its place.
GPG = shutil.which("gpg") or "gpg"

_USER = "system@eas.example"


class Signer:
    """A key in a temporary home. Leaving the context removes both, and the agent that gpg starts for them."""

    def __init__(self) -> None:
        # Not in $TMPDIR: the path of the agent's socket is limited to 107 bytes.
        self._temporary = tempfile.TemporaryDirectory(prefix="eida-signer-", dir="/tmp")
        self._home = Path(self._temporary.name)
        self._gpg("--quick-generate-key", _USER, "ed25519", "sign", "never")
        listed = self._gpg("--list-keys", "--with-colons").decode()
        self.fingerprint = re.findall(r"^fpr:+(\w+):", listed, re.MULTILINE)[0]
        self.keyring = self._home / "exported.gpg"
        self.keyring.write_bytes(self._gpg("--export"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True)
        self._temporary.cleanup()

    def token(self, memberof: str, *, days: float = 1) -> bytes:
        """Sign a token that is valid for some days."""
        until = datetime.datetime.now(tz=datetime.UTC) + datetime.timedelta(days=days)
        text = {
            "valid_until": f"{until:%Y-%m-%dT%H:%M:%S.%fZ}",
            "memberof": memberof,
            "mail": "someone@example.org",
        }
        token = self._gpg("--clearsign", data=json.dumps(text).encode())
        # The signature is the secret part of a token.
        signature = token.decode().partition("BEGIN PGP SIGNATURE")[2]
        for line in re.findall(r"^[A-Za-z0-9+/=]{40,}$", signature, re.MULTILINE):
            issued.note(line)
        return token

    def _gpg(self, *args: str, data: bytes = b"") -> bytes:
        command = [GPG, "--homedir", str(self._home), "--batch", "--no-tty", "--passphrase", ""]
        return subprocess.run(
            [*command, "--pinentry-mode", "loopback", *args], input=data, capture_output=True, check=True
        ).stdout


def replace_gpg(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a script in the place of gpg; it finds the real one as $GPG."""
    folder.mkdir()
    (folder / "gpg").write_text(f"#!/bin/sh\nPATH={os.environ['PATH']} GPG={GPG}\n{script}\n")
    (folder / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def note_starts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file that appears whenever a program starts gpg."""
    started = folder / "started"
    replace_gpg(folder / "bin", monkeypatch, f'touch {started}; exec $GPG "$@"')
    return started
