"""Find all paths of an archive, directory by directory, in an order that depends on their names only.

A directory comes before those below it, and names are sorted, so that two crawls can be compared line by line.
Links are not followed.
"""

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from eida_statistics.files import format_name


class Directory(NamedTuple):
    """A directory that was listed.

    Attributes:
        local: where it is on this machine.
        path: its path in the crawl.
        names: the names in it, sorted as in the crawl.
    """

    local: bytes
    path: str
    names: list[bytes]


Complain = Callable[[str, str], None]
"""Called with the path of a directory that cannot be read, and the reason."""


def walk(root: bytes, path: str, complain: Complain) -> Iterator[Directory]:
    """Yield a directory and all below it.

    Args:
        root: an absolute path on this machine.
        path: its path in the crawl.
        complain: called for each directory that cannot be read, which is left out.
    """
    waiting = [(root, path)]
    while waiting:
        local, path = waiting.pop()
        try:
            names, directories = _list_directory(local)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it was removed since its parent was listed
        except OSError as error:
            complain(path, str(error.strerror))
            continue
        yield Directory(local, path, names)
        # The last one is the next.
        waiting.extend((join(local, name), join_path(path, name)) for name in reversed(directories))


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of a name in a directory on this machine."""
    return directory + b"/" + name if directory != b"/" else b"/" + name


def join_path(directory: str, name: bytes) -> str:
    """Return the path in the crawl of a name in a directory."""
    return f"{directory.rstrip('/')}/{format_name(name)}"


def _list_directory(directory: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the sorted names in a directory, and those of them that are directories."""
    names, directories = [], []
    with os.scandir(directory) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
    names.sort(key=format_name)
    directories.sort(key=format_name)
    return names, directories
