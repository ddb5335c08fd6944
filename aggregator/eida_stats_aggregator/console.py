"""Messages on standard error."""

import click


def complain(text: str) -> None:
    """Print an error or a warning."""
    click.echo(f"eida_stats_aggregator: {text}", err=True)
