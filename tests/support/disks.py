"""Small file systems that tests can fill."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mount_small_disk(megabytes: int) -> Iterator[Path]:
    """Yield a small file system that everybody may write to; skip the test if this user may not mount one."""
    place = Path(f"/tmp/eida-small-disk-{os.getpid()}")
    place.mkdir()
    options = f"size={megabytes}m,mode=0777"
    ran = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if ran.returncode:
        place.rmdir()
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


def fill(disk: Path, *, leaving: int) -> Path:
    """Fill a file system except for some bytes, and return the file that fills it."""
    filler = disk / "filler"
    free = os.statvfs(disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - leaving))
    return filler
