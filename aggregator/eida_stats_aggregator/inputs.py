"""Which logs are meant: files, a log on standard input, or names of files there."""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from eida_statistics.errors import UnreadableLog
from eida_stats_aggregator.logfiles import MAGIC

STDIN = "-"
STDIN_NAME = "standard input"
# PATH_MAX of Linux, in bytes.
_MAX_NAME_BYTES = 4096


@dataclass(frozen=True)
class Log:
    """A log to be read; `size` is that on disk in bytes, 0 where it is not known."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


def logs_of(files: Sequence[str], stdin: BinaryIO | None) -> list[Log]:
    """Give the logs that are named, or that come in on standard input if none is named.

    Raises:
        UnreadableLog: if one of them is not there, or standard input is neither a log nor names of files.
    """
    found: list[Log] = []
    for file in files or [STDIN]:
        if file != STDIN:
            found.append(_file(Path(file)))
        elif stdin is not None:
            found += _on(stdin)
    return found


def _file(path: Path) -> Log:
    # A named pipe must not be opened for this: closing it would end what writes into it.
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableLog(f"{path}: {error.strerror}") from error
    return Log(str(path), size, lambda: _open(path))


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableLog(f"{path}: {error.strerror}") from error


def _on(stdin: BinaryIO) -> list[Log]:
    """Tell by the first line that is not empty whether this is a log or a list of names."""
    head = line = stdin.readline(_MAX_NAME_BYTES)
    while line and not line.strip():
        line = stdin.readline(_MAX_NAME_BYTES)
        head += line
    if not line:
        return []
    if _name_in(line) is None:
        joined = io.BufferedReader(cast("io.RawIOBase", _Rejoined(head, stdin)))
        return [Log(STDIN_NAME, 0, lambda: joined)]
    return [_listed(number, text) for number, text in enumerate([*head.splitlines(), *stdin], 1) if text.strip()]


def _listed(number: int, line: bytes) -> Log:
    name = _name_in(line)
    if name is None:
        # What comes in may be about a person, so it is not repeated.
        raise UnreadableLog(f"{STDIN_NAME}, line {number}: not the name of a file")
    return _file(Path(name))


def _name_in(line: bytes) -> str | None:
    """The file name that a line is, or None if it is rather a part of a log."""
    text = os.fsdecode(line.strip())
    if line.startswith(tuple(MAGIC)) or len(line) >= _MAX_NAME_BYTES:
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
