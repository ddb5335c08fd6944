"""Read request logs as the aggregator does, and compare their traces with a crawl.

One process reads, since the comparison is done rarely. Repeated requests are recognised as in a pipe, which is read
once, and without their users, since nothing about users is read.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from eida_stats_aggregator.archive.comparison import Comparison, Extend
from eida_stats_aggregator.archive.errors import NothingToCompare
from eida_stats_aggregator.archive.holdings import Holdings
from eida_stats_aggregator.fdsnws.log_lines import Ignored, Reject, Rejected
from eida_stats_aggregator.fdsnws.repeated_requests import Window
from eida_stats_aggregator.fdsnws.request_log import is_request_log
from eida_stats_aggregator.fdsnws.tally import SHOWN_REJECTS
from eida_stats_aggregator.fdsnws.trace_log import TracedRequest, parse_line
from eida_stats_aggregator.logs.duplicates import Duplicate, separate_duplicates
from eida_stats_aggregator.logs.lines import read_lines
from eida_stats_aggregator.logs.sources import Log, find_logs
from eida_stats_aggregator.progress import show_progress
from eida_stats_aggregator.reader import get_standard_input

# How many requests are read before some are counted, and leave the memory.
_BATCH = 10_000


@dataclass
class LogSummary:
    """The logs that were read, and the numbers of their lines.

    Attributes:
        files: the logs.
        skipped: other files in directories.
        repeated_files: logs with the same content as another one, which were not read again.
        ignored: the number of lines of other services.
        rejected: the number of lines, and of pieces of damaged lines, that are no request.
        repeated: the number of records of requests that had been counted.
        rejects: the first few of those that were rejected.
    """

    files: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    repeated_files: list[Duplicate] = field(default_factory=list)
    ignored: int = 0
    rejected: int = 0
    repeated: int = 0
    rejects: list[Reject] = field(default_factory=list)


def compare_logs(
    files: Sequence[str], holdings: Holdings, extend: Extend, *, shown: bool = False
) -> tuple[Comparison, LogSummary]:
    """Read logs, and return the sums of their traces; with `shown`, show the progress on a terminal.

    Raises:
        UnreadableLog: if a log cannot be read.
        NothingToCompare: if there is no request in the logs.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
    """
    summary, comparison = LogSummary(), Comparison()
    logs = find_logs(files, get_standard_input(files), is_request_log, summary.skipped.append)
    window: Window[TracedRequest] = Window()
    with show_progress("comparing", 2 * sum(log.size for log in logs), shown=shown) as advance:
        distinct, summary.repeated_files = separate_duplicates(logs, progress=advance)
    with show_progress("reading", sum(log.size for log in distinct), shown=shown) as advance:
        for log in distinct:
            before = comparison.requests
            requests = _read_requests(log, summary)
            while batch := list(islice(requests, _BATCH)):
                for request in window.pass_on(batch):
                    comparison.add(request, holdings, extend)
            advance(log.size, comparison.requests - before)
    for request in window.release():
        comparison.add(request, holdings, extend)
    summary.files = [log.name for log in distinct]
    summary.repeated = window.repeated
    if not comparison.requests:
        raise NothingToCompare(f"no request of fdsnws-dataselect in {', '.join(summary.files) or 'any log'}")
    return comparison, summary


def _read_requests(log: Log, summary: LogSummary) -> Iterator[TracedRequest]:
    with log.open() as raw:
        yield from parse_requests(read_lines(raw, log.name), log.name, summary)


def parse_requests(lines: Iterable[bytes], name: str, summary: LogSummary) -> Iterator[TracedRequest]:
    """Yield the requests in the lines of a log, and count the other lines."""
    latest = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=1)  # clocks disagree
    for number, line in enumerate(lines, 1):
        for outcome in parse_line(line, latest):
            if isinstance(outcome, TracedRequest):
                yield outcome
            elif isinstance(outcome, Ignored):
                summary.ignored += 1
            else:
                _count_rejected(outcome, name, number, summary)


def _count_rejected(rejected: Rejected, name: str, number: int, summary: LogSummary) -> None:
    summary.rejected += 1
    if len(summary.rejects) < SHOWN_REJECTS:
        summary.rejects.append(Reject(name, number, rejected.reason))
