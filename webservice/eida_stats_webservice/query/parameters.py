"""Parse the parameters of queries of statistics, which follow from the declaration of the cube."""

import datetime
import re
from collections.abc import Iterable

import msgspec

from eida_statistics.months import add_months, find_last_day, format_month
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.model import OutputOptions, StatisticsQuery
from eida_stats_webservice.query.sql import find_table
from eida_stats_webservice.web.parameters import join_values, quote_parameter

FORMATS = ("csv", "json", "text", "parquet")
MAX_LIMIT = 10_000_000

# Those of all cubes. Dimensions, choices and measures have their own.
_PARAMETERS = frozenset(
    ["start", "end", "level", "details", "format", "nodata", "sort", "limit", "merge", "header"]
)
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{2}))?)?", re.ASCII)


def list_aliases(cube: Cube) -> dict[str, str]:
    """Return the parameters by the short and long names that they have in FDSN web services."""
    own = {dimension.alias: dimension.name for dimension in cube.dimensions if dimension.alias}
    return {"starttime": "start", "endtime": "end", **own}


def parse_query(
    cube: Cube, parameters: Iterable[tuple[str, str]], today: datetime.date, *, restricted: bool
) -> tuple[StatisticsQuery, OutputOptions]:
    """Parse the parameters of a request.

    Args:
        cube: the cube.
        parameters: names and values in the order of the request.
        today: it, or the last day of its month, is the end of the query, unless the request names an earlier one.
        restricted: allow all dimensions, and patterns.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    dimensions = [dimension for dimension in cube.dimensions if dimension.is_public or restricted]
    filters = {dimension.name: dimension.parse_filter for dimension in dimensions if dimension.parse_filter}
    extra = [measure.parameter for measure in cube.measures if measure.parameter]
    sketches = ["hllvalues"] if cube.has_sketches else []
    known = {*_PARAMETERS, *sketches, *filters, *extra, *(choice.name for choice in cube.choices)}
    # Lists are separated by commas, or their parameters are repeated.
    values = join_values(parameters, known, aliases=list_aliases(cube), lists={*filters, "details"})
    details = _parse_details(cube, values.get("details"))
    grain = cube.find_grain(details)
    # The unit of time that allows single days, if there is one.
    by_day = next((one.name for one in cube.grains if one.is_daily), None)
    start, end = _parse_period(values, today, by_day, daily=grain is not None and grain.is_daily)
    levels = tuple(level.name for level in cube.levels if level in dimensions)
    columns = (*cube.keys, *cube.numbers)
    query = StatisticsQuery(
        cube=cube,
        start=start,
        end=end,
        filters={
            name: parse_filter(name, values[name], restricted)
            for name, parse_filter in filters.items()
            if name in values
        },
        choices={
            choice.name: parse_choice(choice.name, values.get(choice.name), choice.values) or choice.values[0]
            for choice in cube.choices
        },
        level=parse_choice("level", values.get("level"), levels),
        merge_nodes=parse_choice("merge", values.get("merge"), ("nodes",)) is not None,
        details=details,
        sort=parse_choice("sort", values.get("sort"), (*columns, *(f"-{column}" for column in columns))),
        limit=_parse_number("limit", values.get("limit"), MAX_LIMIT),
    )
    nodata = parse_choice("nodata", values.get("nodata"), ("204", "404"))
    options = OutputOptions(
        format=parse_choice("format", values.get("format"), FORMATS) or "csv",
        plain_header=parse_choice("header", values.get("header"), ("plain",)) is not None,
        hllvalues=_parse_truth("hllvalues", values.get("hllvalues")),
        measures=frozenset(name for name in extra if _parse_truth(name, values.get(name))),
        nodata=None if nodata is None else int(nodata),
    )
    _check_combination(query, options)
    return query, options


def _check_combination(query: StatisticsQuery, options: OutputOptions) -> None:
    """Check that the parameters of a query fit together."""
    if query.merge_nodes and query.level != "network":
        raise BadParameter("merge=nodes", hint="Add level=network.")
    grain = query.grain
    if grain is not None and grain.max_days is not None and (query.end - query.start).days >= grain.max_days:
        raise BadParameter(f"details={grain.name}", hint=f"Ask for at most {grain.max_days} days.")
    # Sketches are disclosed by the policies of networks.
    if find_table(query, policies=options.hllvalues) is None:
        undated = msgspec.structs.replace(query, details=query.details - query.date_details)
        if grain is not None and find_table(undated, policies=options.hllvalues) is not None:
            others = [one.name for one in query.cube.grains if not one.is_daily]
            raise BadParameter(
                f"details={grain.name} with {', '.join(_list_divided(undated, options))}",
                hint=f"These are by {' or '.join(others)} only.",
                parameter="details",
            )
        raise BadParameter(
            f"{', '.join(_list_divided(query, options))} cannot be combined",
            hint="Leave one of them out, be it a level, a detail or a filter.",
        )


def _list_divided(query: StatisticsQuery, options: OutputOptions) -> list[str]:
    """Return the names of the parameters by which a query divides or selects rows."""
    level = [query.level] if query.level else []
    return sorted({*query.details, *query.filtered, *level, *(["hllvalues"] if options.hllvalues else [])})


def _parse_details(cube: Cube, value: str | None) -> frozenset[str]:
    grains = [grain.name for grain in cube.grains]
    choices = (*reversed(grains), *(dimension.name for dimension in cube.details))
    details = _split(value)
    if not set(details) <= set(choices):
        raise BadParameter(quote_parameter("details", value or ""), hint=f"Use some of {', '.join(choices)}.")
    if len(set(grains).intersection(details)) > 1:
        raise BadParameter(f"details={value}", hint=f"Use only one of {' and '.join(reversed(grains))}.")
    return frozenset(details)


def _parse_period(
    values: dict[str, str], today: datetime.date, by_day: str | None, *, daily: bool
) -> tuple[datetime.date, datetime.date]:
    """Return the first and the last day of a query.

    Args:
        values: the parameters.
        today: the present day.
        by_day: the detail that allows single days, None if there is none.
        daily: whether the query may have single days. Otherwise its months are whole ones.
    """
    if "start" not in values:
        raise BadParameter("start is missing", hint="Add the first month, as start=YYYY-MM.", parameter="start")
    start = _parse_date("start", values["start"], by_day, daily=daily)
    last = today if daily else find_last_day(today)
    if "end" not in values:
        return start, last
    end = _parse_date("end", values["end"], by_day, daily=daily)
    if end < start:
        raise BadParameter(f"end={values['end']} is before start={values['start']}", parameter="end")
    return start, min(end, last)


def _parse_date(name: str, value: str, by_day: str | None, *, daily: bool) -> datetime.date:
    """Return the first day of the time that `start` names, or the last day of the one that `end` names.

    A day must be the first of its month as `start`, and the last one as `end`, unless the query is daily: otherwise
    the answer would contain more days than the query.
    """
    is_end = name == "end"
    found = _DATE.fullmatch(value)
    try:
        year, month, day = found.groups() if found else ("", None, None)
        first = datetime.date(int(year), int(month) if month else (12 if is_end else 1), 1)
    except ValueError:
        raise BadParameter(
            quote_parameter(name, value),
            hint=f"Use {'YYYY-MM-DD, ' if daily else ''}YYYY-MM or YYYY.",
            parameter=name,
        ) from None
    last = find_last_day(first)
    whole = last if is_end else first
    if day is None or int(day) == whole.day:
        return whole
    if not 1 <= int(day) <= last.day:
        monthly = "" if daily else " Statistics are monthly: use YYYY-MM."
        raise BadParameter(quote_parameter(name, value), hint=f"There is no such day.{monthly}", parameter=name)
    if daily:
        return first.replace(day=int(day))
    raise BadParameter(
        quote_parameter(name, value), hint=_suggest_whole_months(name, first, by_day), parameter=name
    )


def _suggest_whole_months(name: str, month: datetime.date, by_day: str | None) -> str:
    """Return a hint with the whole months that a query can use instead of a part of a month."""
    if by_day is not None:
        return f"For single days, add details={by_day}. To include this month: {name}={format_month(month)}."
    hint = f"Statistics are monthly. To include this month: {name}={format_month(month)}."
    try:
        other = add_months(month, -1 if name == "end" else 1)
    except ValueError:
        return hint
    return f"{hint} To leave it out: {name}={format_month(other)}."


def _split(value: str | None) -> tuple[str, ...]:
    return () if value is None else tuple(value.split(","))


def parse_choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    """Return the value of a parameter, None if it is missing.

    Raises:
        BadParameter: if it is not one of the choices.
    """
    if value is not None and value not in choices:
        raise BadParameter(quote_parameter(name, value), hint=f"Use {' or '.join(choices)}.", parameter=name)
    return value


def _parse_truth(name: str, value: str | None) -> bool:
    return parse_choice(name, value, ("true", "false")) == "true"


def _parse_number(name: str, value: str | None, most: int) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,8}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise BadParameter(quote_parameter(name, value), hint=f"Use a number from 1 to {most}.", parameter=name)
    return int(value)
