"""Messages: how they are printed, and how they list things."""

import sys
from collections.abc import Sequence

_LISTED = 5


def complain(text: str) -> None:
    """Print an error or a warning, unless the shell has closed standard error."""
    if sys.stderr is not None:
        print(f"eida_stats_aggregator: {text}", file=sys.stderr, flush=True)


def format_list(things: Sequence[object]) -> str:
    """Return the first few of them, and how many more there are."""
    more = f" and {len(things) - _LISTED} more" if len(things) > _LISTED else ""
    return ", ".join(map(str, things[:_LISTED])) + more
