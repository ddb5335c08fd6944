"""Regular expressions of all packages."""

import re

from support.paths import ROOT

_FOLDERS = ("eida_statistics", "aggregator", "webservice", "ringserverstats")
_POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")


def test_no_group_has_a_possessive_quantifier() -> None:
    """Before Python 3.11.5, which Debian 12 has, such a pattern may match wrong text (gh-106052)."""
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert files
    assert [path.name for path in files if _POSSESSIVE_GROUP.search(path.read_text())] == []
