"""Find child processes, follow what they read, and wait for conditions."""

import contextlib
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


def read_position(process: int, file: Path) -> int:
    """Return how many bytes of a file a process has read in its present pass; 0 if the file is not open."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it is closed meanwhile
                if descriptor.readlink() == file:
                    status = Path(f"/proc/{process}/fdinfo/{descriptor.name}").read_text(encoding="ascii")
                    return int(status.split(maxsplit=2)[1])
    return 0


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
