"""The parameters of a request for statistics, understood or refused."""

import calendar
import datetime
import re
from collections.abc import Collection, Iterable, Iterator

import msgspec
from flask import Request

from eida_statistics.errors import BadParameter
from eida_statistics.payload import normalize_country
from eida_statistics.texts import printable
from eida_stats_webservice.store.records import LEVELS, Question

FORMATS = ("csv", "json", "text", "parquet")
MAX_CHARACTERS = 4000
MAX_LIMIT = 10_000_000
_TOLD_CHARACTERS = 60

# As FDSN web services call them.
ALIASES = {
    "starttime": "start",
    "endtime": "end",
    "net": "network",
    "sta": "station",
    "loc": "location",
    "cha": "channel",
}
_COARSE = {
    *("start", "end", "node", "network", "country", "level", "details", "format"),
    *("hllvalues", "unsuccessful", "nodata", "sort", "limit", "merge", "header"),
}
_FINE = _COARSE | {"station", "location", "channel"}
_COLUMNS = (
    *("date", "node", "network", "station", "location", "channel", "country"),
    *("bytes", "nb_reqs", "nb_successful_reqs", "nb_unsuccessful_reqs", "clients"),
)

# Those that take several values, with commas or given again.
_LISTS = {"node", "network", "station", "location", "channel", "country", "details"}

_DAY = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{2}))?)?", re.ASCII)
_CODE = re.compile(r"[0-9A-Za-z_-]{1,8}")
_PATTERNS = {
    "network": re.compile(r"[0-9A-Za-z_*?-]{1,16}"),
    "station": re.compile(r"[0-9A-Za-z_*?-]{1,16}"),
    "location": re.compile(r"[0-9A-Za-z _*?-]{1,16}"),
    "channel": re.compile(r"[0-9A-Za-z_*?-]{1,32}"),
}
# Rows without a network, location or country are selected by it.
_NONE = "--"


class Form(msgspec.Struct, frozen=True):
    """How an answer is written: as what, with which columns, and with which status if it has no rows.

    With `plain_header`, CSV begins with the names of the columns, and not with comments.
    """

    format: str = "csv"
    plain_header: bool = False
    hllvalues: bool = False
    unsuccessful: bool = False
    nodata: int | None = None


def question_of(
    parameters: Iterable[tuple[str, str]], today: datetime.date, *, restricted: bool
) -> tuple[Question, Form]:
    """Understand the parameters of a request.

    Args:
        parameters: names and values in the order in which they came.
        today: its month is the last one, unless another is given.
        restricted: for those who may see more: levels below networks, streams, patterns.

    Raises:
        BadParameter: naming what is missing, unknown, repeated or has a value that is not understood.
    """
    given = _join(parameters, _FINE if restricted else _COARSE)
    if "start" not in given:
        raise BadParameter("start is missing", hint="Add the first month, as start=YYYY-MM.")
    start = _parse_month("start", given["start"])
    end = _parse_month("end", given["end"]) if "end" in given else today.replace(day=1)
    if "end" in given and end < start:
        raise BadParameter(f"end={given['end']} is before start={given['start']}")
    details = frozenset(_choices("details", given.get("details"), ("month", "year", "country")))
    if {"month", "year"} <= details:
        raise BadParameter(f"details={given['details']}", hint="It has month or year, not both.")
    limit = _number("limit", given.get("limit"), MAX_LIMIT)
    nodata = _choice("nodata", given.get("nodata"), ("204", "404"))
    level = _choice("level", given.get("level"), LEVELS if restricted else LEVELS[:2])
    merge_nodes = _choice("merge", given.get("merge"), ("nodes",)) is not None
    if merge_nodes and level != "network":
        raise BadParameter("merge=nodes", hint="It needs level=network.")
    question = Question(
        start=start,
        end=min(end, today.replace(day=1)),
        nodes=_values(given.get("node")),
        networks=_networks(given) if restricted else _one_network(given.get("network")),
        stations=_patterns("station", given),
        locations=tuple(_locations(_patterns("location", given))),
        channels=_patterns("channel", given),
        countries=_countries(given.get("country")),
        level=level,
        merge_nodes=merge_nodes,
        details=details,
        sort=_choice("sort", given.get("sort"), (*_COLUMNS, *(f"-{column}" for column in _COLUMNS))),
        limit=limit,
    )
    form = Form(
        format=_choice("format", given.get("format"), FORMATS) or "csv",
        plain_header=_choice("header", given.get("header"), ("plain",)) is not None,
        hllvalues=_truth("hllvalues", given.get("hllvalues")),
        unsuccessful=_truth("unsuccessful", given.get("unsuccessful")),
        nodata=None if nodata is None else int(nodata),
    )
    return question, form


def only(parameters: Iterable[tuple[str, str]], *names: str, optional: Collection[str] = ()) -> dict[str, str]:
    """Return the values of parameters that must all be there, and of those that may be; there are no others.

    Raises:
        BadParameter: naming what is missing, unknown or repeated.
    """
    given = _join(parameters, {*names, *optional}, aliases=False)
    for name in names:
        if name not in given:
            raise BadParameter(f"{name} is missing")
    return given


def told(name: str, value: str) -> str:
    """Return a parameter as a message quotes it: on one line, and cut if it is long."""
    shown = "=".join(
        text if len(text) <= _TOLD_CHARACTERS else f"{text[:_TOLD_CHARACTERS]}…" for text in (name, value)
    )
    return printable(shown)


def parameters_of(request: Request) -> list[tuple[str, str]]:
    """Return the names and values of a request's parameters, in order.

    On GET, parameters whose names begin with `_` are ignored: clients add them to get around caches.
    """
    given = list(request.args.items(multi=True))
    if request.method in ("GET", "HEAD"):
        return [(name, value) for name, value in given if not name.startswith("_")]
    return given


def _join(parameters: Iterable[tuple[str, str]], known: set[str], *, aliases: bool = True) -> dict[str, str]:
    """Return the value of each parameter; several values of one are joined with commas."""
    given: dict[str, str] = {}
    for written, value in parameters:
        name = ALIASES.get(written, written) if aliases else written
        if name not in known:
            hint = f"It takes {', '.join(sorted(known))}." if known else "It takes no parameters."
            raise BadParameter(f"{told(written, value)}: there is no such parameter", hint=hint)
        if name in given and (not aliases or name not in _LISTS):
            raise BadParameter(f"{name} is there twice", hint="It takes one value.")
        given[name] = f"{given[name]},{value}" if name in given else value
        if len(given[name]) > MAX_CHARACTERS:
            raise BadParameter(f"{name} has {len(given[name])} characters", hint=f"It may have {MAX_CHARACTERS}.")
    return given


def _parse_month(name: str, value: str) -> datetime.date:
    """Return the first day of the month that `start` or `end` names.

    A year stands for its first month as `start`, and for its last one as `end`. A day must be the first of its
    month as `start`, and the last one as `end`: otherwise the answer would have days that were not asked for.
    """
    is_end = name == "end"
    found = _DAY.fullmatch(value)
    try:
        year, month, day = found.groups() if found else ("", None, None)
        first = datetime.date(int(year), int(month) if month else (12 if is_end else 1), 1)
    except ValueError:
        raise BadParameter(told(name, value), hint="It is a month, YYYY-MM, or a year.") from None
    last_day = calendar.monthrange(first.year, first.month)[1]
    if day is not None and int(day) != (last_day if is_end else 1):
        if not 1 <= int(day) <= last_day:
            raise BadParameter(told(name, value), hint="There is no such day. Statistics are monthly: YYYY-MM.")
        raise BadParameter(told(name, value), hint=_whole_months_hint(name, first))
    return first


def _whole_months_hint(name: str, month: datetime.date) -> str:
    """Return which months can be asked for instead of a part of a month."""
    number = month.year * 12 + month.month - 1 + (-1 if name == "end" else 1)
    without = f"; without it: {name}={number // 12:04}-{number % 12 + 1:02}" if 1 <= number // 12 <= 9999 else ""
    return f"Statistics are monthly. With this month: {name}={month.isoformat()[:7]}{without}."


def _values(value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(dict.fromkeys(value.split(",")))


def _one_network(value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if value in ("", _NONE):
        return ("",)
    if not _CODE.fullmatch(value):
        raise BadParameter(told("network", value), hint="It is one extended network code, without * or ?.")
    return (value,)


def _networks(given: dict[str, str]) -> tuple[str, ...]:
    if given.get("network") == "":
        return ("",)
    return tuple("" if pattern == _NONE else pattern for pattern in _patterns("network", given))


def _patterns(name: str, given: dict[str, str]) -> tuple[str, ...]:
    values = _values(given.get(name))
    for value in values:
        if not _PATTERNS[name].fullmatch(value):
            raise BadParameter(
                told(name, given[name]), hint="It has codes with commas, in which * and ? may stand."
            )
    # All of them are no choice.
    return () if "*" in values else values


def _locations(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        yield pattern
        if pattern == _NONE:
            yield ""


def _countries(value: str | None) -> tuple[str, ...]:
    if value == "":
        return ("",)
    values = _values(value)
    codes = tuple("" if country == _NONE else normalize_country(country) for country in values)
    if not all(code or country == _NONE for code, country in zip(codes, values, strict=True)):
        hint = "It has country codes of two characters, with commas; -- stands for none."
        raise BadParameter(told("country", value or ""), hint=hint)
    return tuple(dict.fromkeys(codes))


def _choices(name: str, value: str | None, choices: tuple[str, ...]) -> tuple[str, ...]:
    values = _values(value)
    if value is not None and not set(values) <= set(choices):
        raise BadParameter(told(name, value), hint=f"It has some of {', '.join(choices)}.")
    return values


def _choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(told(name, value), hint=f"It is {' or '.join(choices)}.")
    return value


def _truth(name: str, value: str | None) -> bool:
    return _choice(name, value, ("true", "false")) == "true"


def _number(name: str, value: str | None, most: int) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,8}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise BadParameter(told(name, value), hint=f"It is a number from 1 to {most}.")
    return int(value)
