"""All tokens that the tests have made, so that each test can see whether one was logged."""

from unittest.mock import patch

from eida_stats_webservice.store import registry
from eida_stats_webservice.store.records import new_token

TOKENS: list[str] = []


def _noted() -> str:
    TOKENS.append(new_token())
    return TOKENS[-1]


def note_all() -> None:
    """Note every token from now on."""
    patch.object(registry, "new_token", _noted).start()


def found_in(text: str) -> list[str]:
    """Give the beginnings of tokens that are in a text; a whole one would be in the report of the test."""
    return [token[:4] for token in TOKENS if token in text]
