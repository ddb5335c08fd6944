"""Files that are written completely or not at all, and names of files."""

import os
import re
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
OWNER_ONLY = 0o600
EVERYBODY = 0o666

# Only bytes from 80 on are not UTF-8.
_LIKE_ESCAPE = re.compile(rb"\\(?=x(?:5c|[89a-f][0-9a-f]))")


def write_file(path: Path, content: bytes, permissions: int = OWNER_ONLY) -> None:
    """Write a file; by default, one that only its owner can read. A power cut leaves the old file or the new one.

    The umask limits the permissions. A killed process may leave a hidden file with TEMPORARY_SUFFIX beside it.

    Raises:
        OSError: if it cannot be written.
    """
    # Two processes at once may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        temporary.touch(permissions)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # The name of the temporary file would only confuse.
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Write the names of the files in a directory to the disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def format_name(name: bytes) -> str:
    r"""Return a name with `\xHH` for each byte that is not UTF-8. Unicode is not normalised.

    Where the name itself seems to have such an escape, its backslash is written as `\x5c`, so that no two names are
    alike.
    """
    if b"\\x" in name:
        name = _LIKE_ESCAPE.sub(rb"\\x5c", name)
    return name.decode("utf-8", "backslashreplace")
