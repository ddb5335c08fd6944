"""What other processes are there, and waiting for what they do."""

import re
import time
from collections.abc import Callable
from pathlib import Path


def children(parent: int) -> list[int]:
    """Return the process ids of those that a process has started and that are there still."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it has ended since
            continue
        if re.search(rf"^PPid:\t{parent}$", text, re.MULTILINE):
            found.append(int(status.parent.name))
    return sorted(found)


def wait_for(there: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is there, and fail if it does not come in time."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)
