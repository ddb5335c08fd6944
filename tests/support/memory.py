"""The memory that calls leave behind."""

import tracemalloc
from collections.abc import Callable


def measure_growth(function: Callable[[], object]) -> int:
    """Return how many bytes more are allocated after a call than before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before
