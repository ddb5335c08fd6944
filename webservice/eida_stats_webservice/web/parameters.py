"""Parameters of requests: read, checked for unknown and repeated ones, and quoted in messages."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from eida_statistics.texts import printable
from eida_stats_webservice.errors import BadParameter

if TYPE_CHECKING:
    # Commands read parameters, too, and importing Flask takes long.
    from flask import Request

MAX_CHARACTERS = 4000
_QUOTED_CHARACTERS = 60


def require_parameters(
    parameters: Iterable[tuple[str, str]], *names: str, optional: Collection[str] = ()
) -> dict[str, str]:
    """Return the values of mandatory and optional parameters; a request has no others.

    Raises:
        BadParameter: naming a parameter that is missing, unknown or repeated.
    """
    given = join_values(parameters, {*names, *optional})
    for name in names:
        if name not in given:
            raise BadParameter(f"{name} is missing", parameter=name)
    return given


def quote_parameter(name: str, value: str) -> str:
    """Return a parameter as a message quotes it: on one line, and cut if it is long."""
    return printable(f"{_cut(name)}={_cut(value)}")


def quote_value(value: str) -> str:
    """Return a value as a message quotes it: on one line, and cut if it is long."""
    return f"'{printable(_cut(value))}'"


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


def read_parameters(request: "Request") -> list[tuple[str, str]]:
    """Return the names and values of a request's parameters, in order.

    On GET, parameters whose names begin with `_` are ignored: clients add them to bypass caches.
    """
    given = list(request.args.items(multi=True))
    if request.method in ("GET", "HEAD"):
        return [(name, value) for name, value in given if not name.startswith("_")]
    return given


def join_values(
    parameters: Iterable[tuple[str, str]],
    known: Collection[str],
    *,
    aliases: Mapping[str, str] = MappingProxyType({}),
    lists: Collection[str] = (),
) -> dict[str, str]:
    """Return the value of each parameter; several values of one are joined with commas, in their order.

    `aliases` are other names that a request may use for those that are known; `lists` are the names of parameters
    that may have several values.

    Raises:
        BadParameter: naming a parameter that is unknown, repeated or too long.
    """
    given: dict[str, str] = {}
    for written, value in parameters:
        name = aliases.get(written, written)
        if name not in known:
            hint = f"It takes {', '.join(sorted(known))}." if known else "It takes no parameters."
            raise BadParameter(f"{quote_parameter(written, value)}: there is no such parameter", hint=hint)
        if name in given and name not in lists:
            raise BadParameter(f"{name} is there twice", hint="It takes one value.", parameter=name)
        given[name] = f"{given[name]},{value}" if name in given else value
        if len(given[name]) > MAX_CHARACTERS:
            length = f"{name} has {len(given[name])} characters"
            raise BadParameter(length, hint=f"It may have {MAX_CHARACTERS}.", parameter=name)
    return given
