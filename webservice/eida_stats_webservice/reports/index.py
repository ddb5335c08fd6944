"""Write the index of the reports of a period: one HTML page with links to their files."""

from collections.abc import Mapping, Sequence

import msgspec

from eida_stats_webservice.reports.html import render
from eida_stats_webservice.reports.kinds import ReportKind
from eida_stats_webservice.reports.page import KICKER
from eida_stats_webservice.reports.periods import MonthRange, name_days, place_period


class IndexEntry(msgspec.Struct, frozen=True):
    """A report in the index.

    Attributes:
        name: the federation, or the name of a node or network.
        description: the name of a network in the registry; empty if there is none.
        files: the names of its files by format, the main one first; empty if it could not be written.
    """

    name: str
    description: str
    files: Mapping[str, str]


class IndexSection(msgspec.Struct, frozen=True):
    """Reports of similar scopes: their heading, such as `Nodes`, and the name of one of them, such as `Node`."""

    heading: str
    singular: str
    entries: Sequence[IndexEntry]


def write_index(kind: ReportKind, period: MonthRange, sections: Sequence[IndexSection], footer: str) -> bytes:
    """Return an HTML document with the sections that have entries."""
    context = {
        "kicker": KICKER,
        "title": f"Reports of data {kind.action} {place_period(period)}",
        "subtitle": f"{name_days(period.days)} (UTC)",
        "sections": [section for section in sections if section.entries],
        "footer": footer,
    }
    return render("index.html", context)
