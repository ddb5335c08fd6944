"""Find the logs of a run: files, directories, patterns, and logs or names on standard input."""

import codecs
import contextlib
import glob
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from eida_statistics import compression
from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.errors import NoLogFound
from eida_stats_aggregator.logs.lines import read_lines

if TYPE_CHECKING:
    from eida_stats_aggregator.logs.head_start import HeadStart

STDIN = "-"
STDIN_NAME = "standard input"
# PATH_MAX of Linux, in bytes.
_MAX_NAME_BYTES = 4096
# A line of a transfer log could be the name of a file. It has an address, which no message may quote.
_TRANSFER_LINE = re.compile(
    rb"(?:START|END) CLIENT |\(connected [0-9]{4}-|\] total [RT]X bytes: |^\S+ [0-9]+ [0-9]+\s*$"
)
# Broken lines may come before the first record.
_FIRST_LINES = 20


@dataclass(frozen=True)
class Log:
    """A log to be read.

    `size` is that on disk in bytes, 0 where it is not known. `magic` are the first bytes of the compression, None
    without one. A log `on_disk` can be read repeatedly, and in parts. Its beginning may be unpacked already, as its
    `head_start`.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO]
    magic: bytes | None = None
    on_disk: bool = False
    head_start: "HeadStart | None" = None


# Returns whether a file is a log of the caller's kind.
IsMine = Callable[[Log], bool]


def find_logs(
    files: Sequence[str],
    stdin: BinaryIO | None,
    is_mine: IsMine,
    skip: Callable[[str], None] = lambda _name: None,
) -> list[Log]:
    """Return the named logs, or those on standard input if no name is given.

    A name may be that of a file; of a directory, for all logs of the caller's kind below it; or a pattern with `*`,
    `?`, `[…]` and `**`. `skip` is called with the name of each file in a directory that is of another kind.

    Raises:
        UnreadableLog: if one of them does not exist, or standard input is neither a log nor names of files.
        NoLogFound: if a directory has no such log.
    """
    found: list[Log] = []
    for file in files or [STDIN]:
        if file != STDIN:
            found += _find_by_name(file, is_mine, skip)
        elif stdin is not None:
            found += _find_in_stdin(stdin, is_mine, skip)
    return found


def _find_by_name(name: str, is_mine: IsMine, skip: Callable[[str], None]) -> list[Log]:
    # Unlike Path.exists, this raises nothing for a path without access; opening it raises the reason.
    if glob.has_magic(name) and not os.path.exists(name):  # noqa: PTH110
        matching = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - it takes absolute patterns
        if not matching:
            raise UnreadableLog(f"{name}: no file has such a name")
        # Where a pattern fits files as well, as ** does, those in the directories are among them.
        files = [match for match in matching if not os.path.isdir(match)]  # noqa: PTH112 - as above
        return [log for match in files or matching for log in _find_at_path(match, is_mine, skip)]
    return _find_at_path(name, is_mine, skip)


def _find_at_path(name: str, is_mine: IsMine, skip: Callable[[str], None]) -> list[Log]:
    return _find_in_directory(Path(name), is_mine, skip) if os.path.isdir(name) else [describe_log(Path(name))]  # noqa: PTH112 - as above


def _find_in_directory(directory: Path, is_mine: IsMine, skip: Callable[[str], None]) -> list[Log]:
    """Return the logs of the caller's kind in a directory and its folders; other files may lie beside them."""
    found: list[Log] = []
    for path, is_regular in walk(directory):
        if is_regular and is_mine(log := describe_log(path)):
            found.append(log)
        else:
            skip(str(path))
    if not found:
        raise NoLogFound(f"{directory}: no log of this kind in it", hint="Name the log files themselves.")
    return found


def walk(directory: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what is in a directory and its folders, without hidden names, and whether each is a regular file.

    Raises:
        UnreadableLog: if a folder cannot be read.
    """
    try:
        for folder, folders, names in os.walk(directory, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
            yield from ((path, path.is_file()) for path in paths)
    except OSError as error:
        raise UnreadableLog(f"{error.filename}: {error.strerror}") from error


def _raise(error: OSError) -> None:
    raise error


def read_first_lines(log: Log) -> Iterator[bytes]:
    """Yield the first lines of a log, by which its kind is recognised.

    Raises:
        UnreadableLog: if it cannot be read.
    """
    with log.open() as raw:
        yield from islice(read_lines(raw, log.name), _FIRST_LINES)


def read_head(log: Log) -> bytes:
    """Return the beginning of a log on disk, unpacked: a mebibyte, or all of it.

    Raises:
        UnreadableLog: if it cannot be read.
    """
    with log.open() as raw, contextlib.closing(compression.read_chunks(raw, log.name)) as chunks:
        return next(chunks, b"")


def describe_log(path: Path) -> Log:
    """Return a file as a log, whatever it contains.

    Raises:
        UnreadableLog: if it does not exist or cannot be read.
    """
    # A named pipe must not be opened for this: closing it would end what writes into it.
    try:
        status = path.stat()
    except OSError as error:
        raise UnreadableLog(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        return Log(str(path), 0, partial(_open, str(path), path.absolute()))
    with _open(str(path), path) as raw:
        start = raw.read(max(map(len, compression.MAGIC)))
    magic = next((magic for magic in compression.MAGIC if start.startswith(magic)), None)
    return Log(str(path), status.st_size, partial(_open, str(path), path.absolute()), magic, on_disk=True)


def _open(name: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableLog(f"{name}: {error.strerror}") from error


def _find_in_stdin(stdin: BinaryIO, is_mine: IsMine, skip: Callable[[str], None]) -> list[Log]:
    """Return the log on standard input, or the logs that it names. Its first line that is not empty decides."""
    head = line = stdin.readline(_MAX_NAME_BYTES)
    while line and not line.removeprefix(codecs.BOM_UTF8).strip():
        line = stdin.readline(_MAX_NAME_BYTES)
        head += line
    if not line:
        return []
    if _parse_name(line) is None:
        joined = io.BufferedReader(cast("io.RawIOBase", _Rejoined(head, stdin)))
        return [Log(STDIN_NAME, 0, lambda: joined)]
    lines = enumerate([*head.splitlines(), *stdin], 1)
    return [
        log
        for number, text in lines
        if _parse_name(text) != ""
        for log in _find_listed(number, text, is_mine, skip)
    ]


def _find_listed(number: int, line: bytes, is_mine: IsMine, skip: Callable[[str], None]) -> list[Log]:
    name = _parse_name(line)
    if name is None:
        # The input may be about a person, so it is not quoted.
        raise UnreadableLog(f"{STDIN_NAME}, line {number}: not the name of a file")
    return _find_by_name(name, is_mine, skip)


def _parse_name(line: bytes) -> str | None:
    """Return the file name in a line, or None if the line looks like a part of a log."""
    text = os.fsdecode(line.removeprefix(codecs.BOM_UTF8).strip())
    if line.startswith(tuple(compression.MAGIC)) or len(line) >= _MAX_NAME_BYTES or _TRANSFER_LINE.search(line):
        return None
    is_name = all(character.isprintable() or "\udc80" <= character <= "\udcff" for character in text)
    return text if is_name and not set(text) & set('{}"') else None


class _Rejoined(io.RawIOBase):
    """A stream whose beginning was already read."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        chunk = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
