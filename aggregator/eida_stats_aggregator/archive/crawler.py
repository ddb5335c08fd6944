"""Crawl an archive: walk through it, describe every path, and write the crawl."""

import contextlib
import dataclasses
import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from eida_statistics import __version__
from eida_statistics.archive.crawl_file import CrawlWriter, find_parts
from eida_statistics.archive.records import CrawlRecord
from eida_statistics.errors import InvalidRegistry, RegistryUnavailable
from eida_statistics.files import format_name
from eida_statistics.networks import NetworkRegistry
from eida_stats_aggregator.archive.describe import Described, Describer, Findings, Portion, Wanted
from eida_stats_aggregator.archive.errors import CrawlerLost, CrawlStopped, UnreadableRoot, UnwritableCrawl
from eida_stats_aggregator.archive.previous import PreviousCrawl, explain_reading
from eida_stats_aggregator.archive.walk import Complain, Directory, join, walk
from eida_stats_aggregator.errors import WorkerLost
from eida_stats_aggregator.parallel import pool
from eida_stats_aggregator.parallel.shared_registry import Load, SharedRegistry
from eida_stats_aggregator.progress import Advance

# The most paths in a batch: so many that sending it costs little.
_BATCH_PATHS = 128
# Fewer of those that have to be read, so that all processes end at about the same time.
_BATCH_READ = 32
# They have about so many bytes, which take 0.05 s from the page cache.
_BATCH_BYTES = 1 << 26


@dataclass(frozen=True)
class Options:
    """The options of a crawl.

    Attributes:
        root: the directory on this machine.
        path: its path in the crawl.
        output: the file to write.
        wanted: the metadata to collect.
        load: loads the registry of networks; called once at most.
        jobs: the number of processes.
        since: the previous crawl.
    """

    root: Path
    path: str
    output: Path
    wanted: Wanted
    load: Load
    jobs: int
    since: Path | None = None


@dataclass
class Outcome:
    """A crawl that was written.

    Attributes:
        findings: the figures of all paths.
        remarks: texts for the operator.
    """

    findings: Findings
    remarks: list[str]


def crawl(options: Options, progress: Advance) -> Outcome:
    """Crawl an archive, and write the crawl.

    Raises:
        UnreadableRoot: if the archive cannot be read.
        UnwritableCrawl: if the crawl cannot be written.
        OtherArchive: if the previous crawl is that of another archive.
        InvalidCrawl: if the previous crawl is none.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded. Nothing is written.
        InvalidRegistry: if the registry is invalid. Nothing is written.
        CrawlStopped: if it is interrupted. The temporary file stays.
    """
    root = _find_root(options.root)
    wanted, previous, remarks = options.wanted, None, []
    if options.since is not None:
        previous = PreviousCrawl(options.since, options.path)
        if reason := explain_reading(previous.record, __version__, wanted.layout):
            wanted = dataclasses.replace(wanted, rereads=True)
            remarks.append(f"all files were read again: {options.since} {reason}")
    remarks += [f"left by a crawl that was killed, or still runs: {part}" for part in find_parts(options.output)]
    findings = Findings()
    batches = _make_batches(root, options.path, previous, findings.unreadable_directories.__setitem__)
    registry = SharedRegistry(options.load)
    results = pool.process(batches, _make_work(wanted, registry), options.jobs)
    with contextlib.closing(registry), _open_writer(options) as writer, contextlib.closing(results):
        try:
            for described in results:
                writer.write(described.compressed)
                findings.add(described.findings)
                progress(described.findings.bytes, described.findings.counts["posix"])
        except WorkerLost as error:
            raise CrawlerLost(error.subject, hint=error.hint) from None
        writer.finish(_make_last_record(findings))
    return Outcome(findings, remarks)


def _find_root(root: Path) -> bytes:
    """Return the directory, with links in its path resolved."""
    try:
        os.scandir(root).close()
    except OSError as error:
        hint = "Name the directory of the archive." if isinstance(error, NotADirectoryError) else ""
        raise UnreadableRoot(f"{root}: {error.strerror}", hint=hint) from error
    return os.path.realpath(os.fsencode(root))


@contextlib.contextmanager
def _open_writer(options: Options) -> Iterator[CrawlWriter]:
    """Open the file of the crawl. If the crawl ends early, its temporary file stays, unless it is of no use."""
    first = CrawlRecord(
        started=_get_now(),
        root=format_name(os.path.abspath(os.fsencode(options.root))),  # noqa: PTH100 - bytes
        options=options.wanted.list_options(),
        version=__version__,
    )
    try:
        writer = CrawlWriter(options.output, options.path, first)
    except OSError as error:
        raise UnwritableCrawl(f"{options.output}: {error.strerror}") from error
    hint = f"Continue it with --since {writer.part}, or remove that file."
    try:
        yield writer
    except (RegistryUnavailable, InvalidRegistry):
        writer.discard()
        raise
    except KeyboardInterrupt as error:
        raise CrawlStopped("interrupted", hint=hint) from error
    except CrawlerLost as error:
        error.hint = f"{error.hint} {hint}".strip()
        raise
    except OSError as error:
        raise UnwritableCrawl(f"{options.output}: {error.strerror}", hint=hint) from error
    finally:
        writer.close()


def _make_work(wanted: Wanted, registry: SharedRegistry) -> Callable[[], Callable[[list[Portion]], Described]]:
    return lambda: Describer(wanted, NetworkRegistry(registry.load)).describe


def _make_batches(
    root: bytes, path: str, previous: PreviousCrawl | None, complain: Complain
) -> Iterator[list[Portion]]:
    """Yield all paths, in the order of the crawl."""
    batch = [Portion(root, path, [b""], {})]
    size = 1
    for directory in walk(root, path, complain):
        before = {} if previous is None else previous.take(directory.path)
        limit = _BATCH_PATHS if before else _count_files_to_read(directory)
        for start in range(0, len(directory.names), limit):
            names = directory.names[start : start + limit]
            lines = {name: before[name] for name in map(format_name, names) if name in before} if before else {}
            batch.append(Portion(directory.local, directory.path, names, lines))
            size += len(names)
            if size >= limit:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _count_files_to_read(directory: Directory) -> int:
    """Return how many paths of a directory to put in one batch, as if all files had the size of the first one."""
    size = 0
    if directory.names:
        with contextlib.suppress(OSError):
            size = os.lstat(join(directory.local, directory.names[0])).st_size
    return min(max(_BATCH_BYTES // max(size, 1), 1), _BATCH_READ)


def _make_last_record(findings: Findings) -> CrawlRecord:
    return CrawlRecord(
        finished=_get_now(),
        counts=dict(sorted(findings.counts.items())),
        unreadable=sorted(findings.unreadable_directories),
        errors=findings.other + len(findings.unreadable_files),
    )


def _get_now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
