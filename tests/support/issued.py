"""All secrets that the tests have created, so that each test can check whether one was logged or printed."""

import json
import subprocess
from collections.abc import Sequence
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


def search_output(arguments: Sequence[str], code: int, printed: str, complaints: str) -> None:
    """Search the output of one of our commands for secrets, except a new token, which is printed on purpose."""
    words = arguments[1:]
    if words[:2] == ["tokens", "add"] and not code:
        note(json.loads(printed)["token"] if "--json" in words else printed.strip())
        printed = ""
    _LEAKED.extend(find_secrets(printed + complaints))


def _run_and_search(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    done = _run(*arguments, **options)
    words = [str(word) for word in done.args] if isinstance(done.args, list) else [""]
    if Path(words[0]).name in _COMMANDS:
        search_output(words, done.returncode, _text(done.stdout), _text(done.stderr))
    return done


def _text(stream: bytes | str | None) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""
