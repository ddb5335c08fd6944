"""The option `--kind` of several commands."""

import click

from eida_stats_webservice.payloads.kinds import Kind

KIND = click.Choice([kind.value for kind in Kind])


def parse_kind(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Kind | None:
    """Return a kind of payloads, or None if none is named."""
    return None if value is None else Kind(value)
