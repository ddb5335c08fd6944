"""All secrets that the tests have made, so that each test can see whether one was logged or told."""

import json
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eida_stats_webservice.registry import repository
from eida_stats_webservice.registry.models import create_token

_SECRETS: list[str] = []
_TOLD: list[str] = []
_COMMANDS = {"eida_stats_aggregator", "eida_statsman"}

_run = subprocess.run


def note(secret: str) -> str:
    """Note a secret that a test has chosen, and give it."""
    _SECRETS.append(secret)
    return secret


def note_all() -> None:
    """Note every token from now on, and look through all that our commands tell."""
    patch.object(repository, "create_token", lambda: note(create_token())).start()
    patch.object(subprocess, "run", _looked_through).start()


def found_in(text: str) -> list[str]:
    """Return the beginnings of secrets that are in a text; a whole one would be in the report of the test."""
    return [secret[:4] for secret in _SECRETS if secret in text]


def told() -> list[str]:
    """Return the beginnings of secrets that a command has told since this was last asked."""
    found = _TOLD.copy()
    _TOLD.clear()
    return found


def _looked_through(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    done = _run(*arguments, **options)
    command, *words = map(str, done.args) if isinstance(done.args, list) else [""]
    if Path(command).name in _COMMANDS:
        printed, complaints = (_text(stream) for stream in (done.stdout, done.stderr))
        if words[:2] == ["tokens", "add"] and not done.returncode:
            # That is what it is for.
            note(json.loads(printed)["token"] if "--json" in words else printed.strip())
            printed = ""
        _TOLD.extend(found_in(printed + complaints))
    return done


def _text(stream: bytes | str | None) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""
