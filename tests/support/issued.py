"""All secrets that the tests have created, so that each test can check whether one was logged or printed."""

import json
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eida_stats_webservice.registry import repository
from eida_stats_webservice.registry.models import create_token

_SECRETS: list[str] = []
_LEAKED: list[str] = []
_COMMANDS = {"eida_stats_aggregator", "eida_statsman"}

_run = subprocess.run


def note(secret: str) -> str:
    """Remember a secret that a test has chosen, and return it."""
    _SECRETS.append(secret)
    return secret


def watch_all() -> None:
    """Remember every token from now on, and search the output of all our commands."""
    patch.object(repository, "create_token", lambda: note(create_token())).start()
    patch.object(subprocess, "run", _run_and_search).start()


def find_secrets(text: str) -> list[str]:
    """Return the beginnings of secrets in a text. Whole secrets would end up in the test report."""
    return [secret[:4] for secret in _SECRETS if secret in text]


def take_leaks() -> list[str]:
    """Return the beginnings of secrets that commands printed since the last call."""
    found = _LEAKED.copy()
    _LEAKED.clear()
    return found


def _run_and_search(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    done = _run(*arguments, **options)
    command, *words = map(str, done.args) if isinstance(done.args, list) else [""]
    if Path(command).name in _COMMANDS:
        printed, complaints = (_text(stream) for stream in (done.stdout, done.stderr))
        if words[:2] == ["tokens", "add"] and not done.returncode:
            # This command prints a token on purpose.
            note(json.loads(printed)["token"] if "--json" in words else printed.strip())
            printed = ""
        _LEAKED.extend(find_secrets(printed + complaints))
    return done


def _text(stream: bytes | str | None) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""
