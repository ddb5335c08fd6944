"""Find child processes, and wait for conditions."""

import re
import time
from collections.abc import Callable
from pathlib import Path


def list_children(parent: int) -> list[int]:
    """Return the process ids of the running children of a process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if re.search(rf"^PPid:\t{parent}$", text, re.MULTILINE):
            found.append(int(status.parent.name))
    return sorted(found)


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
