"""Messages to the operator."""

import sys
from collections.abc import Sequence

_LISTED = 5
_PROGRAM = "eida_stats_aggregator"


def set_program(name: str) -> None:
    """Set the name of the command in its messages."""
    global _PROGRAM  # noqa: PLW0603 - a process runs one command
    _PROGRAM = name


def complain(text: str) -> None:
    """Print an error or a warning, unless the shell has closed standard error."""
    if sys.stderr is not None:
        print(f"{_PROGRAM}: {text}", file=sys.stderr, flush=True)


def format_list(things: Sequence[object]) -> str:
    """Return a text with the first few things, and the number of the others."""
    more = f" and {len(things) - _LISTED} more" if len(things) > _LISTED else ""
    return ", ".join(map(str, things[:_LISTED])) + more
