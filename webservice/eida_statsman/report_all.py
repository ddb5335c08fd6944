"""eida_statsman report --all: reports of the federation, of each node and each network, and their index."""

import datetime
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eida_statistics.errors import EidaStatisticsError
from eida_statistics.files import EVERYBODY, write_file
from eida_stats_webservice.reports.formats import FORMATS
from eida_stats_webservice.reports.index import IndexEntry, IndexSection, write_index
from eida_stats_webservice.reports.kinds import ReportKind
from eida_stats_webservice.reports.maker import ReportMaker
from eida_stats_webservice.reports.models import Report, Scope
from eida_stats_webservice.reports.page import make_page
from eida_stats_webservice.reports.periods import MonthRange, list_comparisons

_ODD = re.compile(r"[^A-Za-z0-9._-]")


class Target(msgspec.Struct, frozen=True):
    """A report to write.

    Attributes:
        scope: its selection.
        name: its name for people, such as `node GFZ`.
        stem: the name of its files, without the extension.
    """

    scope: Scope
    name: str
    stem: str


Failures = dict[str, list[str]]
"""The names of reports and files that failed, by the reason."""
Track = Callable[[Sequence[Target], str], Iterable[Target]]
"""Yields targets, and shows under a heading how many have been passed."""


def write_all(
    maker: ReportMaker,
    kind: ReportKind,
    period: MonthRange,
    today: datetime.date,
    directory: Path,
    formats: Sequence[str],
) -> Failures:
    """Write all public reports of a kind and a period, and their index, which links to the files written.

    Return what failed.

    Raises:
        PdfUnavailable: if a format is PDF, which this installation cannot write.
        OSError: if the directory cannot be created.
        EidaStatisticsError: if the database cannot be used.
    """
    for name in formats:
        FORMATS[name].check()
    failures: Failures = {}
    directory.mkdir(parents=True, exist_ok=True)
    with _show_progress() as track:
        made = _make_reports(maker, kind, period, today, failures, track)
        files = {
            target: _write_files(target, made[target], directory, formats, failures)
            for target in track(list(made), "Writing reports")
        }
    if reports := [report for report in made.values() if report is not None]:
        name = f"{kind.prefix}index.html"
        with _collect(failures, name):
            footer = make_page(reports[0]).footer
            index = write_index(kind, period, _make_index(made, files), footer)
            write_file(directory / name, index, EVERYBODY)
    return failures


def choose_targets(kind: ReportKind, scopes: Iterable[Scope], federation: Report | None) -> list[Target]:
    """Return the reports to write: of the federation, and of the nodes and networks that its report lists.

    It lists nodes with statistics or days due, and networks with statistics. Without it, all scopes are chosen.
    """
    if federation is not None:
        nodes = {row.node for row in federation.select("node")}
        networks = {None, *(row.network for row in federation.select("network"))}
        scopes = [scope for scope in scopes if nodes.issuperset(scope.node) and scope.network in networks]
    names = {scope: _name_scope(scope) for scope in scopes}
    stems = name_files(names.values())
    return [Target(scope, name, f"{kind.prefix}{stems[name]}") for scope, name in names.items()]


def name_files(names: Iterable[str]) -> dict[str, str]:
    """Return the names of files, without extension, by the names of reports.

    Letters outside ASCII, blanks and other odd characters become `-`. Names that would then be equal, also on file
    systems that ignore the case of letters, end in a number, except the one with the fewest odd characters.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    for name in sorted(names, key=lambda name: (len(_ODD.findall(name)), name)):
        plain = _ODD.sub("-", name)
        numbered = (f"{plain}-{number}" for number in itertools.count(2))
        stems[name] = next(stem for stem in itertools.chain([plain], numbered) if stem.lower() not in taken)
        taken.add(stems[name].lower())
    return stems


def _name_scope(scope: Scope) -> str:
    if scope.network is not None:
        return f"network {scope.network}"
    return f"node {scope.node[0]}" if scope.node else "federation"


def _make_reports(
    maker: ReportMaker,
    kind: ReportKind,
    period: MonthRange,
    today: datetime.date,
    failures: Failures,
    track: Track,
) -> dict[Target, Report | None]:
    """Make all reports of one state of the database. One that fails is None.

    They are written later, since PDF takes minutes, and a migration has to wait while a snapshot is open.
    """
    with maker.snapshot() as snapshot:

        def make(scope: Scope) -> Report | None:
            with _collect(failures, _name_scope(scope)), snapshot.savepoint():
                return snapshot.make(scope, period, list_comparisons(period), today)
            return None

        everything = Scope(kind.name)
        federation = make(everything)
        targets = choose_targets(kind, snapshot.list_public_scopes(kind.name), federation)
        return {
            target: federation if target.scope == everything else make(target.scope)
            for target in track(targets, "Making reports")
        }


def _write_files(
    target: Target, report: Report | None, directory: Path, formats: Sequence[str], failures: Failures
) -> dict[str, str]:
    """Write a report in all formats, and return the names of the files written, by format."""
    files: dict[str, str] = {}
    if report is None:
        return files
    for form in formats:
        file = f"{target.stem}.{form}"
        with _collect(failures, f"{target.name} ({file})"):
            write_file(directory / file, FORMATS[form].write(report), EVERYBODY)
            files[form] = file
    return files


def _make_index(
    made: Mapping[Target, Report | None], files: Mapping[Target, Mapping[str, str]]
) -> list[IndexSection]:
    federation, nodes, networks = [], [], []
    for target, report in made.items():
        scope = target.scope
        if scope.network is not None:
            name = (report and report.name) or ""
            networks.append(IndexEntry(scope.network, name, files[target]))
        elif scope.node:
            nodes.append(IndexEntry(scope.node[0], "", files[target]))
        else:
            federation.append(IndexEntry("All nodes", "", files[target]))
    return [
        IndexSection("Federation", "Report", federation),
        IndexSection("Nodes", "Node", nodes),
        IndexSection("Networks", "Network", networks),
    ]


@contextmanager
def _collect(failures: Failures, name: str) -> Iterator[None]:
    """Add a name to the failures if the context fails with an error that a person can correct."""
    try:
        yield
    except EidaStatisticsError as error:
        failures.setdefault(str(error), []).append(name)
    except OSError as error:
        failures.setdefault(error.strerror or str(error), []).append(name)


@contextmanager
def _show_progress() -> Iterator[Track]:
    """Show the progress on a terminal."""
    if not sys.stderr.isatty():
        yield lambda targets, _heading: targets
        return
    # Slow to import, and mostly not needed.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as display:
        yield lambda targets, heading: display.track(targets, description=heading)
