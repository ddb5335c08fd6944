"""Messages on standard error."""

import sys


def complain(text: str) -> None:
    """Print an error or a warning, unless the shell has closed standard error."""
    if sys.stderr is not None:
        print(f"eida_stats_aggregator: {text}", file=sys.stderr, flush=True)
