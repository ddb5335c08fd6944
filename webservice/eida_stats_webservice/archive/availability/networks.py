"""FDSN codes of networks: Z3 stands for each extended code such as Z32015."""

import re
from collections.abc import Iterable

from eida_stats_webservice.archive.availability.patterns import match_any

_EXTENDED = re.compile(r"([0-9XYZ][0-9A-Z])[0-9]{4}")


def shorten(code: str) -> str:
    """Return the FDSN code of a network by its extended code. Other codes pass through."""
    found = _EXTENDED.fullmatch(code)
    return found[1] if found else code


def select_networks(codes: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the extended codes of which a pattern matches the short or the extended form."""
    wanted = list(patterns)
    return [code for code in codes if match_any(wanted, code) or match_any(wanted, shorten(code))]


def separate_epochs(codes: Iterable[str]) -> list[list[str]]:
    """Divide extended codes into lists, in each of which a short code occurs once.

    The rows of such a list have the same order by short and by extended code.
    """
    lists: list[list[str]] = []
    seen: dict[str, int] = {}
    for code in sorted(codes):
        number = seen.get(shorten(code), 0)
        seen[shorten(code)] = number + 1
        if number == len(lists):
            lists.append([])
        lists[number].append(code)
    return lists
