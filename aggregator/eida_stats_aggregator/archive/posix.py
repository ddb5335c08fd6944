"""Records of the file system."""

import grp
import os
import pwd
import stat
from functools import lru_cache

from eida_statistics.archive.records import EARLIEST, LATEST, PathType, PosixRecord
from eida_statistics.files import format_name

_NANOSECONDS = 10**9
_MAX_INT64 = 2**63 - 1


def get_type(found: os.stat_result) -> PathType | None:
    """Return the type of a path; None for a FIFO, socket or device."""
    if stat.S_ISREG(found.st_mode):
        return "file"
    if stat.S_ISDIR(found.st_mode):
        return "directory"
    return "link" if stat.S_ISLNK(found.st_mode) else None


def describe_path(
    path: bytes, path_type: PathType, name: bytes, found: os.stat_result, *, has_owners: bool
) -> PosixRecord:
    """Return the record of a path.

    Args:
        path: where it is on this machine.
        path_type: its type.
        name: its last part.
        found: the result of `os.lstat`.
        has_owners: whether to find the names of its owner and group.

    Raises:
        OSError: if it is a link that cannot be read.
    """
    return PosixRecord(
        path_type,
        found.st_size,
        _format_mode(found.st_mode),
        found.st_ino,
        found.st_uid,
        found.st_gid,
        _to_seconds(found.st_atime_ns),
        _to_seconds(found.st_ctime_ns),
        _to_seconds(found.st_mtime_ns),
        found.st_dev,
        found.st_nlink,
        found.st_mtime_ns if abs(found.st_mtime_ns) <= _MAX_INT64 else None,
        format_name(os.readlink(path)) if path_type == "link" else None,  # noqa: PTH115 - bytes
        os.path.exists(path) if path_type == "link" else None,  # noqa: PTH110 - bytes
        _find_user(found.st_uid) if has_owners else None,
        _find_group(found.st_gid) if has_owners else None,
        None if format_name(name).encode() == name else name.hex(),
    )


def _to_seconds(nanoseconds: int) -> int | None:
    seconds = nanoseconds // _NANOSECONDS
    # File systems have other years, too.
    return seconds if EARLIEST <= seconds <= LATEST else None


@lru_cache(maxsize=256)
def _format_mode(mode: int) -> str:
    return stat.filemode(mode)


@lru_cache(maxsize=4096)
def _find_user(number: int) -> str | None:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return None


@lru_cache(maxsize=4096)
def _find_group(number: int) -> str | None:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return None
