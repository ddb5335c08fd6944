"""The parameters of a request for statistics, understood or refused."""

import calendar
import datetime
import re
from collections.abc import Iterable, Iterator

from eida_statistics.payload import normalize_country
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.model import LEVELS, Form, Question
from eida_stats_webservice.web.parameters import join_values, quote_parameter

FORMATS = ("csv", "json", "text", "parquet")
MAX_LIMIT = 10_000_000

# As FDSN web services call them.
ALIASES = {
    "starttime": "start",
    "endtime": "end",
    "net": "network",
    "sta": "station",
    "loc": "location",
    "cha": "channel",
}


# Those that take several values, with commas or given again.
_LISTS = {"node", "network", "station", "location", "channel", "country", "details"}


_COARSE = {
    *("start", "end", "node", "network", "country", "level", "details", "format"),
    *("hllvalues", "unsuccessful", "nodata", "sort", "limit", "merge", "header"),
}
_FINE = _COARSE | {"station", "location", "channel"}
_COLUMNS = (
    *("date", "node", "network", "station", "location", "channel", "country"),
    *("bytes", "nb_reqs", "nb_successful_reqs", "nb_unsuccessful_reqs", "clients"),
)


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
    given = join_values(parameters, _FINE if restricted else _COARSE, aliases=ALIASES, lists=_LISTS)
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
        raise BadParameter(quote_parameter(name, value), hint="It is a month, YYYY-MM, or a year.") from None
    last_day = calendar.monthrange(first.year, first.month)[1]
    if day is not None and int(day) != (last_day if is_end else 1):
        if not 1 <= int(day) <= last_day:
            raise BadParameter(
                quote_parameter(name, value), hint="There is no such day. Statistics are monthly: YYYY-MM."
            )
        raise BadParameter(quote_parameter(name, value), hint=_whole_months_hint(name, first))
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
        raise BadParameter(
            quote_parameter("network", value), hint="It is one extended network code, without * or ?."
        )
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
                quote_parameter(name, given[name]), hint="It has codes with commas, in which * and ? may stand."
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
        raise BadParameter(quote_parameter("country", value or ""), hint=hint)
    return tuple(dict.fromkeys(codes))


def _choices(name: str, value: str | None, choices: tuple[str, ...]) -> tuple[str, ...]:
    values = _values(value)
    if value is not None and not set(values) <= set(choices):
        raise BadParameter(quote_parameter(name, value), hint=f"It has some of {', '.join(choices)}.")
    return values


def _choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(quote_parameter(name, value), hint=f"It is {' or '.join(choices)}.")
    return value


def _truth(name: str, value: str | None) -> bool:
    return _choice(name, value, ("true", "false")) == "true"


def _number(name: str, value: str | None, most: int) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,8}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise BadParameter(quote_parameter(name, value), hint=f"It is a number from 1 to {most}.")
    return int(value)
