"""Find access logs in a directory, and read their new records."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from eida_statistics.compression import CHUNK_BYTES, read_chunks
from eida_statistics.ringserver.access_log import MAX_LINE_BYTES, AccessLogParser, Parsed
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.windows import Grid, parse_log_name
from eida_stats_aggregator.console import format_list
from eida_stats_aggregator.errors import AccessLogSkipped, BadServerName
from eida_stats_aggregator.logs.sources import Log, walk
from eida_stats_aggregator.ringserver.follow_state import LogProgress

# The bytes before an offset that show whether the log is still the same.
_TAIL_BYTES = 256
_GRID = Grid()
_MOVE = "Move it out of the directory: ringserver then begins a new file."


class Batch(NamedTuple):
    """A part of a log, and the progress behind it."""

    parsed: Parsed
    progress: LogProgress


class Found(NamedTuple):
    """The access logs of a ringserver, oldest first, and the prefix of their names."""

    prefix: str
    paths: list[Path]


def find_access_logs(directory: Path, instance: str) -> Found:
    """Return the access logs of a ringserver in a directory and its folders.

    If their names have several prefixes, those that begin with the name of the ringserver are its logs.

    Raises:
        UnreadableLog: if the directory cannot be read.
        BadServerName: if there are several prefixes, and none is the name of the ringserver.
    """
    by_prefix: dict[str, list[tuple[int, Path]]] = {}
    for path, is_regular in walk(directory):
        name = parse_log_name(path.name, _GRID)
        if is_regular and name is not None and name.direction is None:
            start = 0 if name.window is None else name.window.start
            by_prefix.setdefault(name.server, []).append((start, path))
    if len(by_prefix) > 1 and instance not in by_prefix:
        names = format_list([prefix or "no prefix" for prefix in sorted(by_prefix)])
        hint = "Use this prefix as --instance, or put the logs of each ringserver into a directory of its own."
        raise BadServerName(f"the names of the access logs in {directory} begin with {names}", hint=hint)
    prefix = instance if instance in by_prefix else next(iter(by_prefix), "")
    return Found(prefix, [path for _, path in sorted(by_prefix.get(prefix, []))])


def identify_log(log: Log, parser: AccessLogParser) -> str | None:
    """Return the source of a log, None if it has no whole record yet.

    Raises:
        UnreadableLog: if it cannot be read or unpacked.
        AccessLogSkipped: if it is no access log.
    """
    text = b""
    with closing(_read_from(log, 0)) as chunks:
        for chunk in chunks:
            text += chunk
            if (source := parser.identify(text)) is not None:
                return source
            if len(text) > MAX_LINE_BYTES:
                raise AccessLogSkipped(f"{log.name}: its first {len(text):,} bytes have no record of an access log")
    return None


def read_batches(
    log: Log, source: str, progress: LogProgress, parser: AccessLogParser, key: ClientKey, latest: datetime
) -> Iterator[Batch]:
    """Yield the new records of a log. Each batch has at most `MAX_RECORDS` records.

    Args:
        log: the file.
        source: that of its records.
        progress: that which was acknowledged.
        parser: parses its text.
        key: the key of the hash in `progress`.
        latest: the latest time that a record can have.

    Raises:
        UnreadableLog: if it cannot be read or unpacked.
        AccessLogSkipped: if it is not the same log as before.
    """
    first = max(0, progress.offset - _TAIL_BYTES)
    with closing(_read_from(log, first)) as chunks:
        text = b""
        while len(text) < progress.offset - first:
            if not (chunk := next(chunks, b"")):
                raise _make_shorter(log, first + len(text), progress)
            text += chunk
        before, text = text[: progress.offset - first], text[progress.offset - first :]
        if progress.tail and key.hash_line(before) != progress.tail:
            raise AccessLogSkipped(
                f"{log.name}: it has changed before byte {progress.offset:,}, up to which it was sent",
                hint=_MOVE,
            )
        is_open = True
        while is_open:
            while (parsed := parser.parse(text, source, progress.offset, progress.line, latest=latest)).length:
                before = (before + text[max(0, parsed.length - _TAIL_BYTES) : parsed.length])[-_TAIL_BYTES:]
                progress = LogProgress(
                    progress.offset + parsed.length, progress.line + parsed.lines, key.hash_line(before)
                )
                yield Batch(parsed, progress)
                text = text[parsed.length :]
            chunk = next(chunks, b"")
            is_open = bool(chunk)
            text += chunk


def _make_shorter(log: Log, length: int, progress: LogProgress) -> AccessLogSkipped:
    return AccessLogSkipped(
        f"{log.name}: it has {length:,} bytes, and {progress.offset:,} were sent. Was it truncated?", hint=_MOVE
    )


def _read_from(log: Log, offset: int) -> Generator[bytes]:
    """Yield the text of a log from an offset on."""
    with log.open() as raw:
        if log.magic is None:
            raw.seek(offset)
            while chunk := raw.read(CHUNK_BYTES):
                yield chunk
            return
        position = 0
        for chunk in read_chunks(raw, log.name):
            if position + len(chunk) > offset:
                yield chunk[max(0, offset - position) :]
            position += len(chunk)
