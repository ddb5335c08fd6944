"""Parse the parameters of queries of statistics."""

import calendar
import datetime
import re
from collections.abc import Iterable, Iterator

from eida_statistics.payload import normalize_country
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.model import LEVELS, OutputOptions, StatisticsQuery
from eida_stats_webservice.web.parameters import join_values, quote_parameter

FORMATS = ("csv", "json", "text", "parquet")
MAX_LIMIT = 10_000_000

# The short and long names of FDSN web services.
ALIASES = {
    "starttime": "start",
    "endtime": "end",
    "net": "network",
    "sta": "station",
    "loc": "location",
    "cha": "channel",
}

# Parameters with several values: separated by commas, or repeated.
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
# Selects rows without a network, location or country.
_NONE = "--"


def parse_query(
    parameters: Iterable[tuple[str, str]], today: datetime.date, *, restricted: bool
) -> tuple[StatisticsQuery, OutputOptions]:
    """Parse the parameters of a request.

    Args:
        parameters: names and values in the order of the request.
        today: its month is the last month of the query, unless the request names another.
        restricted: allow levels below networks, filters for streams, and patterns.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    values = join_values(parameters, _FINE if restricted else _COARSE, aliases=ALIASES, lists=_LISTS)
    if "start" not in values:
        raise BadParameter("start is missing", hint="Add the first month, as start=YYYY-MM.")
    start = _parse_month("start", values["start"])
    end = _parse_month("end", values["end"]) if "end" in values else today.replace(day=1)
    if "end" in values and end < start:
        raise BadParameter(f"end={values['end']} is before start={values['start']}")
    details = frozenset(_parse_choices("details", values.get("details"), ("month", "year", "country")))
    if {"month", "year"} <= details:
        raise BadParameter(f"details={values['details']}", hint="Use month or year, not both.")
    limit = _parse_number("limit", values.get("limit"), MAX_LIMIT)
    nodata = _parse_choice("nodata", values.get("nodata"), ("204", "404"))
    level = _parse_choice("level", values.get("level"), LEVELS if restricted else LEVELS[:2])
    merge_nodes = _parse_choice("merge", values.get("merge"), ("nodes",)) is not None
    if merge_nodes and level != "network":
        raise BadParameter("merge=nodes", hint="Add level=network.")
    query = StatisticsQuery(
        start=start,
        end=min(end, today.replace(day=1)),
        nodes=_split(values.get("node")),
        networks=_parse_networks(values) if restricted else _parse_network(values.get("network")),
        stations=_parse_patterns("station", values),
        locations=tuple(_expand_locations(_parse_patterns("location", values))),
        channels=_parse_patterns("channel", values),
        countries=_parse_countries(values.get("country")),
        level=level,
        merge_nodes=merge_nodes,
        details=details,
        sort=_parse_choice("sort", values.get("sort"), (*_COLUMNS, *(f"-{column}" for column in _COLUMNS))),
        limit=limit,
    )
    options = OutputOptions(
        format=_parse_choice("format", values.get("format"), FORMATS) or "csv",
        plain_header=_parse_choice("header", values.get("header"), ("plain",)) is not None,
        hllvalues=_parse_truth("hllvalues", values.get("hllvalues")),
        unsuccessful=_parse_truth("unsuccessful", values.get("unsuccessful")),
        nodata=None if nodata is None else int(nodata),
    )
    return query, options


def _parse_month(name: str, value: str) -> datetime.date:
    """Return the first day of the month that `start` or `end` names.

    A year stands for its first month as `start`, and for its last one as `end`. A day must be the first of its
    month as `start`, and the last one as `end`: otherwise the answer would contain more days than the query.
    """
    is_end = name == "end"
    found = _DAY.fullmatch(value)
    try:
        year, month, day = found.groups() if found else ("", None, None)
        first = datetime.date(int(year), int(month) if month else (12 if is_end else 1), 1)
    except ValueError:
        raise BadParameter(quote_parameter(name, value), hint="Use YYYY-MM or YYYY.") from None
    last_day = calendar.monthrange(first.year, first.month)[1]
    if day is not None and int(day) != (last_day if is_end else 1):
        if not 1 <= int(day) <= last_day:
            raise BadParameter(
                quote_parameter(name, value), hint="There is no such day. Statistics are monthly: use YYYY-MM."
            )
        raise BadParameter(quote_parameter(name, value), hint=_suggest_whole_months(name, first))
    return first


def _suggest_whole_months(name: str, month: datetime.date) -> str:
    """Return a hint with the whole months that a query can use instead of a part of a month."""
    number = month.year * 12 + month.month - 1 + (-1 if name == "end" else 1)
    hint = f"Statistics are monthly. To include this month: {name}={month.isoformat()[:7]}."
    if not 1 <= number // 12 <= 9999:
        return hint
    return f"{hint} To leave it out: {name}={number // 12:04}-{number % 12 + 1:02}."


def _split(value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(dict.fromkeys(value.split(",")))


def _parse_network(value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if value in ("", _NONE):
        return ("",)
    if not _CODE.fullmatch(value):
        raise BadParameter(quote_parameter("network", value), hint="Use one extended network code, without * or ?.")
    return (value,)


def _parse_networks(values: dict[str, str]) -> tuple[str, ...]:
    if values.get("network") == "":
        return ("",)
    return tuple("" if pattern == _NONE else pattern for pattern in _parse_patterns("network", values))


def _parse_patterns(name: str, values: dict[str, str]) -> tuple[str, ...]:
    patterns = _split(values.get(name))
    if not all(map(_PATTERNS[name].fullmatch, patterns)):
        raise BadParameter(
            quote_parameter(name, values[name]),
            hint="Use codes separated by commas, with * and ? as wildcards.",
        )
    # A filter that matches everything is none.
    return () if "*" in patterns else patterns


def _expand_locations(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        yield pattern
        if pattern == _NONE:
            yield ""


def _parse_countries(value: str | None) -> tuple[str, ...]:
    if value == "":
        return ("",)
    values = _split(value)
    codes = tuple("" if country == _NONE else normalize_country(country) for country in values)
    if not all(code or country == _NONE for code, country in zip(codes, values, strict=True)):
        hint = "Use country codes of two characters, separated by commas; -- stands for requests without a country."
        raise BadParameter(quote_parameter("country", value or ""), hint=hint)
    return tuple(dict.fromkeys(codes))


def _parse_choices(name: str, value: str | None, choices: tuple[str, ...]) -> tuple[str, ...]:
    values = _split(value)
    if value is not None and not set(values) <= set(choices):
        raise BadParameter(quote_parameter(name, value), hint=f"Use some of {', '.join(choices)}.")
    return values


def _parse_choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(quote_parameter(name, value), hint=f"Use {' or '.join(choices)}.")
    return value


def _parse_truth(name: str, value: str | None) -> bool:
    return _parse_choice(name, value, ("true", "false")) == "true"


def _parse_number(name: str, value: str | None, most: int) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,8}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise BadParameter(quote_parameter(name, value), hint=f"Use a number from 1 to {most}.")
    return int(value)
