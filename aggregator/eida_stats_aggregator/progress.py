"""The progress of a run, on a terminal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int, int], None]
"""Called with the numbers of bytes on disk and of lines (or paths) that were read since the last call."""


@contextlib.contextmanager
def show_progress(what: str, size: int, *, shown: bool, unit: str = "requests") -> Iterator[Advance]:
    """Show the progress through `size` bytes on disk, on a terminal; 0 if the size is not known."""
    if not shown or not sys.stderr.isatty():
        yield lambda _bytes, _lines: None
        return
    # Slow to import, and mostly not needed.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Refreshing needs a thread, and processes are forked.
        auto_refresh=False,
    )
    begun = time.monotonic()
    done = 0

    def advance(more_bytes: int, more_lines: int) -> None:
        nonlocal done
        done += more_lines
        rate = f"{done / (time.monotonic() - begun):,.0f} {unit}/s" if done else ""
        display.update(task, advance=more_bytes, rate=rate, refresh=True)

    with display:
        task = display.add_task(what, total=size or None, rate="")
        yield advance
