"""Find logs with the same content, so that a run counts them once."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from eida_statistics import compression
from eida_stats_aggregator.logs import sources
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.progress import Advance

_COMPARED_BYTES = 1 << 16


class Duplicate(msgspec.Struct, frozen=True):
    """A log with the same content as an earlier one, however it is packed."""

    file: str
    same_as: str


def separate_duplicates(logs: Sequence[Log], *, progress: Advance) -> tuple[list[Log], list[Duplicate]]:
    """Return the logs with distinct content, and the duplicates. Pipes cannot be compared.

    Only logs that begin with the same 64 KiB are compared to their end. `progress` is called twice for each log.

    Raises:
        UnreadableLog: if a log cannot be read.
    """
    beginnings: list[bytes | None] = []
    for log in logs:
        beginnings.append(_hash_beginning(log) if len(logs) > 1 else None)
        progress(log.size, 0)
    times = Counter(beginnings)
    originals: dict[bytes | None, str] = {}
    distinct: list[Log] = []
    repeats: list[Duplicate] = []
    for log, beginning in zip(logs, beginnings, strict=True):
        content = _hash_content(log) if beginning is not None and times[beginning] > 1 else None
        if content in originals:
            repeats.append(Duplicate(log.name, originals[content]))
        else:
            distinct.append(log)
        if content is not None:
            originals.setdefault(content, log.name)
        progress(log.size, 0)
    return distinct, repeats


def _hash_beginning(log: Log) -> bytes | None:
    """The first of a log's content; None if it has none, or cannot be read twice."""
    head = sources.read_head(log)[:_COMPARED_BYTES] if log.on_disk else b""
    return hashlib.blake2b(head).digest() if head else None


def _hash_content(log: Log) -> bytes:
    hasher = hashlib.blake2b()
    with log.open() as raw:
        for chunk in compression.read_chunks(raw, log.name):
            hasher.update(chunk)
    return hasher.digest()
