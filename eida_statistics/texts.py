"""External text: made safe for display, and compared with names that exist."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

_SUGGESTED = 3
_SIMILAR = 0.4


def printable(text: str) -> str:
    """Return a text on one line, with a replacement for each character that a terminal would act on."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


def find_similar(value: str, known: Iterable[str], labels: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Return the names that are most similar to a value, without regard to case.

    Args:
        value: the value.
        known: the names.
        labels: other texts for some of the names, such as the country of a code.
    """
    by_text = {text.lower(): name for name in known for text in (name, labels.get(name, name))}
    if value.lower() in by_text:
        return [by_text[value.lower()]]
    found = get_close_matches(value.lower(), by_text, _SUGGESTED, _SIMILAR)
    return list(dict.fromkeys(by_text[text] for text in found))
