"""Files that are written completely or not at all."""

import os
from pathlib import Path

TEMPORARY_SUFFIX = ".tmp"
OWNER_ONLY = 0o600
EVERYBODY = 0o666


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
