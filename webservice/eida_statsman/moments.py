"""Options whose value is a time."""

import datetime
from collections.abc import Callable
from typing import Any

import click

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.moments import parse_moment


def _parse(_context: click.Context, parameter: click.Parameter, value: str | None) -> datetime.datetime | None:
    if value is None:
        return None
    try:
        return parse_moment(value, str(parameter.name))
    except BadParameter as error:
        raise click.BadParameter(error.hint) from error


def moment_option(*names: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    """Return an option for a time in UTC, such as 2026-11-22T08:00:00Z."""
    return click.option(*names, callback=_parse, metavar="T", help=text, required=required)


def get_now() -> datetime.datetime:
    """Return the present time."""
    return datetime.datetime.now(tz=datetime.UTC)
