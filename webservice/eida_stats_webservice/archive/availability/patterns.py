"""Patterns of codes with * and ?, and the conditions in SQL that use an index for them."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from eida_stats_webservice.archive.availability.models import EMPTY
from eida_stats_webservice.database.base import Database, merge_wildcards

# After each character of a code.
_LAST = "~"


class Condition(NamedTuple):
    """A condition on a code: it lies between two texts, and matches a regular expression, if there is one."""

    first: str
    last: str
    regex: str | None


def make_condition(database: Database, patterns: Sequence[str]) -> Condition:
    """Return the condition that a code matches one of some patterns."""
    ranges = [_find_range(pattern) for pattern in patterns]
    first, last = min(first for first, _ in ranges), max(last for _, last in ranges)
    is_plain = first == last or any(pattern.strip("*") == "" for pattern in patterns)
    return Condition(first, last, None if is_plain else database.to_regex(patterns))


def write_empty(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns of locations as they are stored: an empty location matches what matches its usual form."""
    found = dict.fromkeys(patterns)
    if match_any(found, EMPTY):
        found[""] = None
    return tuple(found)


def match_any(patterns: Iterable[str], code: str) -> bool:
    """Return whether one of some patterns matches a whole code."""
    return any(_compile(pattern).fullmatch(code) for pattern in patterns)


def _find_range(pattern: str) -> tuple[str, str]:
    """Return two texts between which all codes are that a pattern matches."""
    beginning = re.split(r"[*?]", pattern, maxsplit=1)[0]
    return beginning, pattern if beginning == pattern else beginning + _LAST


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    # Patterns have few characters, so that matching them is quick.
    return re.compile(re.escape(merge_wildcards(pattern)).replace(r"\*", ".*").replace(r"\?", "."))
