"""Which logs are meant: files, a log on standard input, or names of files there."""

import codecs
import contextlib
import glob
import io
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, cast

from eida_stats_aggregator.errors import UnreadableLog
from eida_stats_aggregator.fdsnws import request_log
from eida_stats_aggregator.logs import compression
from eida_stats_aggregator.logs.lines import read_lines

STDIN = "-"
STDIN_NAME = "standard input"
# PATH_MAX of Linux, in bytes.
_MAX_NAME_BYTES = 4096
# How many broken lines may come before the first record of a request log.
_LOOKED_AT = 20


@dataclass(frozen=True)
class Log:
    """A log to be read.

    `size` is that on disk in bytes, 0 where it is not known. `magic` are the first bytes of the compression, None
    without one. A log `on_disk` can be read repeatedly, and in parts.
    """

    name: str
    size: int
    open: Callable[[], BinaryIO]
    magic: bytes | None = None
    on_disk: bool = False


def logs_of(
    files: Sequence[str], stdin: BinaryIO | None, *, pass_over: Callable[[str], None] = lambda _name: None
) -> list[Log]:
    """Return the named logs, or those of standard input if none is named.

    A name may be that of a file, of a directory, which stands for all request logs below it, or a pattern
    with `*`, `?`, `[…]` and `**`.

    Args:
        files: the names.
        stdin: standard input, if it can be read.
        pass_over: called with each file in a directory that is no request log.

    Raises:
        UnreadableLog: if one of them is not there, or standard input is neither a log nor names of files.
    """
    found: list[Log] = []
    for file in files or [STDIN]:
        if file != STDIN:
            found += _named(file, pass_over)
        elif stdin is not None:
            found += _on(stdin, pass_over)
    return found


def _named(name: str, pass_over: Callable[[str], None]) -> list[Log]:
    # Unlike Path.exists, this raises nothing for a path without access; opening it raises the reason.
    if glob.has_magic(name) and not os.path.exists(name):  # noqa: PTH110
        matching = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - it takes absolute patterns
        if not matching:
            raise UnreadableLog(f"{name}: no file has such a name")
        # Where a pattern fits files as well, as ** does, those in the directories are among them.
        files = [match for match in matching if not os.path.isdir(match)]  # noqa: PTH112 - as above
        return [log for match in files or matching for log in _there(match, pass_over)]
    return _there(name, pass_over)


def _there(name: str, pass_over: Callable[[str], None]) -> list[Log]:
    return _below(Path(name), pass_over) if os.path.isdir(name) else [_file(Path(name))]  # noqa: PTH112 - as above


def _below(directory: Path, pass_over: Callable[[str], None]) -> list[Log]:
    """The request logs in a directory and its folders, by content: other logs may lie beside them."""
    found: list[Log] = []
    try:
        for folder, folders, names in os.walk(directory, onerror=_raise):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in [Path(folder, name) for name in sorted(names) if not name.startswith(".")]:
                if path.is_file() and is_request_log(log := _file(path)):
                    found.append(log)
                else:
                    pass_over(str(path))
    except OSError as error:
        raise UnreadableLog(f"{error.filename}: {error.strerror}") from error
    if not found:
        raise UnreadableLog(f"{directory}: there is no request log in it", hint="Name the files themselves.")
    return found


def _raise(error: OSError) -> None:
    raise error


def is_request_log(log: Log) -> bool:
    """Return whether a file is a request log, of this service or of another, by its first lines."""
    try:
        with log.open() as raw:
            first = islice(read_lines(raw, log.name), _LOOKED_AT)
            outcomes = chain.from_iterable(map(request_log.parse_line, first))
            return any(not isinstance(outcome, request_log.Rejected) for outcome in outcomes)
    except UnreadableLog:
        # It is named when it is read: a damaged log, or an archive of logs. Other files may look like anything.
        return "request" in Path(log.name).name


def head_of(log: Log) -> bytes:
    """Return the beginning of a log on disk, unpacked: a mebibyte, or all of it.

    Raises:
        UnreadableLog: if it cannot be read.
    """
    with log.open() as raw, contextlib.closing(compression.chunks(raw, log.name)) as chunks:
        return next(chunks, b"")


def _file(path: Path) -> Log:
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


def _on(stdin: BinaryIO, pass_over: Callable[[str], None]) -> list[Log]:
    """Return whether this is a log or a list of names, by the first line that is not empty."""
    head = line = stdin.readline(_MAX_NAME_BYTES)
    while line and not line.removeprefix(codecs.BOM_UTF8).strip():
        line = stdin.readline(_MAX_NAME_BYTES)
        head += line
    if not line:
        return []
    if _name_in(line) is None:
        joined = io.BufferedReader(cast("io.RawIOBase", _Rejoined(head, stdin)))
        return [Log(STDIN_NAME, 0, lambda: joined)]
    lines = enumerate([*head.splitlines(), *stdin], 1)
    return [log for number, text in lines if _name_in(text) != "" for log in _listed(number, text, pass_over)]


def _listed(number: int, line: bytes, pass_over: Callable[[str], None]) -> list[Log]:
    name = _name_in(line)
    if name is None:
        # The input may be about a person, so it is not quoted.
        raise UnreadableLog(f"{STDIN_NAME}, line {number}: not the name of a file")
    return _named(name, pass_over)


def _name_in(line: bytes) -> str | None:
    """The file name that a line is, or None if it is rather a part of a log."""
    text = os.fsdecode(line.removeprefix(codecs.BOM_UTF8).strip())
    if line.startswith(tuple(compression.MAGIC)) or len(line) >= _MAX_NAME_BYTES:
        return None
    is_name = all(character.isprintable() or "\udc80" <= character <= "\udcff" for character in text)
    return text if is_name and not set(text) & set('{}"') else None


class _Rejoined(io.RawIOBase):
    """A stream of which the beginning was read already."""

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
