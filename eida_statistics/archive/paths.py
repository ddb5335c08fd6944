"""Paths in a catalogue: absolute, separated by `/`, compared as they are written."""

import hashlib
from functools import lru_cache

from eida_statistics.archive.errors import InvalidPath

# Linux limits a path to 4,096 bytes. A crawl writes four characters for a byte that is not UTF-8.
_MAX_BYTES = 4 * 4096
# An archive has a few hundred thousand directories. Their files are next to each other in a crawl.
_REMEMBERED_DIRECTORIES = 1 << 16


def normalise_path(path: str) -> str:
    """Return an absolute path without doubled slashes, without `.`, and without a slash at its end.

    Raises:
        InvalidPath: if it is relative, or has `..` or a character that no path can have.
    """
    if not path.startswith("/"):
        raise InvalidPath(f"{path!r}: not absolute", hint="Begin it with a slash.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    normal = "/" + "/".join(parts)
    if not is_normal(normal):
        raise InvalidPath(f"{path!r}: it has '..', a NUL character, or is too long")
    return normal


def is_normal(path: str) -> bool:
    """Return whether a path is absolute and normalised, so that no other path means the same."""
    if path == "/":
        return True
    if not path.startswith("/") or path.endswith("/") or "\0" in path or not _fits(path):
        return False
    # Most paths have neither, which is quick to see.
    return not ("//" in path or ("/." in path and any(part in (".", "..") for part in path.split("/"))))


def _fits(path: str) -> bool:
    try:
        return len(path.encode()) <= _MAX_BYTES
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def is_within(path: str, directory: str) -> bool:
    """Return whether a path is a directory itself or below it. `/u390/x` is not within `/u39`."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def overlap(path: str, other: str) -> bool:
    """Return whether something can be within both of two directories: one of them is within the other."""
    return is_within(path, other) or is_within(other, path)


def hash_path(path: str) -> str:
    """Return the hash that identifies a path: its MD5 as the text of a UUID."""
    return _format_uuid(hashlib.md5(path.encode(), usedforsecurity=False).hexdigest())


def hash_parents(path: str) -> tuple[str, ...]:
    """Return the hashes of all directories above a path, from the top. `/` is not one of them."""
    return _hash_directories(path.rpartition("/")[0])


@lru_cache(maxsize=_REMEMBERED_DIRECTORIES)
def _hash_directories(directory: str) -> tuple[str, ...]:
    """Return the hashes of a directory and of those above it."""
    digest = hashlib.md5(usedforsecurity=False)
    hashes = []
    for name in directory.split("/")[1:]:
        digest.update(b"/" + name.encode())
        hashes.append(_format_uuid(digest.hexdigest()))
    return tuple(hashes)


def _format_uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
