"""Parse the parameters and the body of requests, with the names and values of FDSN web services."""

import datetime
import math
import re
from collections.abc import Collection, Iterable, Mapping

from eida_statistics.archive.records import MAX_CHANNEL, MAX_CODE
from eida_stats_webservice.archive.availability.models import (
    EMPTY,
    EXTENT_ORDERS,
    FORMATS,
    MERGES,
    QUERY_ORDERS,
    AvailabilityQuery,
    Selection,
    Time,
    Window,
    format_time,
)
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.moments import parse_moment
from eida_stats_webservice.web.parameters import join_values, quote_parameter, quote_value

ALIASES = {
    "net": "network",
    "sta": "station",
    "loc": "location",
    "cha": "channel",
    "start": "starttime",
    "end": "endtime",
}
MAX_LINES = 10_000
"""The largest number of lines with a selection in a body."""

_CODES = ("network", "station", "location", "channel")
_STREAMS = frozenset([*_CODES, "starttime", "endtime"])
_COMMON = frozenset(
    ["quality", "merge", "orderby", "limit", "includerestricted", "format", "nodata", "partial", "show"]
)
_CODE = re.compile(r"[A-Za-z0-9_*?-]+", re.ASCII)
_LONGEST_CODES = dict.fromkeys(_CODES, MAX_CODE) | {"channel": MAX_CHANNEL}
_QUALITY = re.compile(r"[A-Za-z0-9*?]{1,3}", re.ASCII)
_TRUTHS = {"true": True, "yes": True, "t": True, "1": True, "false": False, "no": False, "f": False, "0": False}
_MAX_GAP_SECONDS = 1e10
_OPEN = "*"
_HINT = "Select by network, station, location or channel. network=* selects all networks."
_LINE_HINT = "Write NET STA LOC CHA START END, such as GE APE -- BHZ 2024-01-01 2024-02-01."
_LINE_FIELDS = (4, 6)


def list_parameters(*, is_extent: bool) -> frozenset[str]:
    """Return the names of the parameters of a path, without aliases."""
    return _STREAMS | _COMMON | (frozenset() if is_extent else {"mergegaps"})


def parse_query(parameters: Iterable[tuple[str, str]], *, is_extent: bool) -> AvailabilityQuery:
    """Parse the parameters of a URL.

    Raises:
        BadParameter: naming the parameter that is wrong, or if nothing is selected.
    """
    values = join_values(parameters, list_parameters(is_extent=is_extent), aliases=ALIASES)
    if not values.keys() & set(_CODES):
        raise BadParameter("nothing is selected", hint=_HINT)
    codes = [values.get(name, "*") for name in _CODES]
    selection = _parse_selection(codes, [values.get("starttime", _OPEN), values.get("endtime", _OPEN)])
    return _parse_options(values, (selection,), is_extent=is_extent)


def parse_body(body: str, *, is_extent: bool) -> AvailabilityQuery:
    """Parse a body: lines NAME=VALUE, then lines NET STA LOC CHA START END.

    Times may be missing, or `*` for an open end.

    Raises:
        BadParameter: naming the parameter or the line that is wrong, or if nothing is selected.
    """
    parameters: list[tuple[str, str]] = []
    selections: list[Selection] = []
    for number, line in enumerate(body.splitlines(), 1):
        name, is_parameter, value = line.partition("=")
        if is_parameter:
            parameters.append((name.strip(), value.strip()))
        elif fields := line.split():
            selections.append(_parse_line(number, fields))
            if len(selections) > MAX_LINES:
                raise BadParameter(f"there are more than {MAX_LINES:,} lines", hint="Send several requests.")
    for name, value in parameters:
        if ALIASES.get(name, name) in _STREAMS:
            raise BadParameter(quote_parameter(name, value), hint=_LINE_HINT, parameter=name)
    if not selections:
        raise BadParameter("nothing is selected", hint=_LINE_HINT)
    known = list_parameters(is_extent=is_extent) - _STREAMS
    return _parse_options(join_values(parameters, known), unite_windows(selections), is_extent=is_extent)


def unite_windows(selections: Iterable[Selection]) -> tuple[Selection, ...]:
    """Return selections of the same streams, in windows that do not overlap where the codes are equal."""
    windows: dict[Selection, list[Window]] = {}
    for selection in selections:
        key = Selection(selection.networks, selection.stations, selection.locations, selection.channels)
        windows.setdefault(key, []).append(selection.window)
    return tuple(
        Selection(key.networks, key.stations, key.locations, key.channels, window)
        for key, some in windows.items()
        for window in _unite(some)
    )


def _unite(windows: Iterable[Window]) -> list[Window]:
    united: list[Window] = []
    for window in sorted(windows, key=lambda one: one.start or ""):
        last = united[-1] if united else None
        if last is None or (last.end is not None and window.start is not None and window.start > last.end):
            united.append(window)
        else:
            is_open = last.end is None or window.end is None
            united[-1] = last._replace(end=None if is_open else max(last.end, window.end))  # type: ignore[type-var]
    return united


def _parse_line(number: int, fields: list[str]) -> Selection:
    if len(fields) not in _LINE_FIELDS:
        raise BadParameter(f"line {number} has {len(fields)} fields", hint=_LINE_HINT)
    codes, times = fields[:4], fields[4:]
    try:
        return _parse_selection(codes, times or [_OPEN, _OPEN])
    except BadParameter as error:
        raise BadParameter(f"line {number}: {error.subject}", hint=error.hint) from None


def _parse_selection(codes: Iterable[str], times: Iterable[str]) -> Selection:
    networks, stations, locations, channels = map(_parse_codes, _CODES, codes)
    return Selection(networks, stations, locations, channels, _parse_window(*times))


def _parse_options(
    values: Mapping[str, str], selections: tuple[Selection, ...], *, is_extent: bool
) -> AvailabilityQuery:
    order = _parse_choice(values, "orderby", EXTENT_ORDERS if is_extent else QUERY_ORDERS)
    shown = _parse_choice(values, "show", ("latestupdate",), default="")
    return AvailabilityQuery(
        is_extent,
        selections,
        qualities=_parse_qualities(values.get("quality", "*")),
        merge=_parse_merge(values),
        gap=_parse_gap(values.get("mergegaps", "0")),
        order=order,
        limit=_parse_limit(values.get("limit")),
        include_restricted=_parse_truth(values, "includerestricted"),
        show_updated=is_extent or bool(shown),
        format=_parse_choice(values, "format", FORMATS),
        nodata=int(_parse_choice(values, "nodata", ("204", "404"))),
        partial=_parse_truth(values, "partial"),
    )


def _parse_codes(name: str, value: str) -> tuple[str, ...]:
    # Some clients write an empty location with blanks.
    codes = [EMPTY if name == "location" and code and not code.strip() else code for code in value.split(",")]
    longest = _LONGEST_CODES[name]
    for code in codes:
        if len(code) > longest or not _CODE.fullmatch(code):
            more = f" or {EMPTY} for an empty one" if name == "location" else ""
            raise BadParameter(
                quote_parameter(name, value),
                hint=f"Use codes of at most {longest} letters and digits, * and ?, separated by commas{more}.",
                parameter=name,
            )
    return tuple(dict.fromkeys(codes))


def _parse_qualities(value: str) -> tuple[str, ...]:
    qualities = value.split(",")
    if not all(map(_QUALITY.fullmatch, qualities)):
        raise BadParameter(
            quote_parameter("quality", value), hint="Use D, M, Q, R or *, separated by commas.", parameter="quality"
        )
    return tuple(dict.fromkeys(qualities))


def _parse_window(start: str, end: str) -> Window:
    window = Window(_parse_time("starttime", start), _parse_time("endtime", end))
    if window.start is not None and window.end is not None and window.end < window.start:
        raise BadParameter(
            f"endtime={quote_value(end)} is before starttime={quote_value(start)}", parameter="endtime"
        )
    return window


def _parse_time(name: str, value: str) -> Time | None:
    return None if value == _OPEN else format_time(parse_moment(value, name))


def _parse_merge(values: Mapping[str, str]) -> frozenset[str]:
    if "merge" not in values:
        return frozenset()
    merge = values["merge"].lower().split(",")
    _check_choices("merge", values["merge"], merge, MERGES)
    return frozenset(merge)


def _parse_choice(
    values: Mapping[str, str], name: str, choices: tuple[str, ...], *, default: str | None = None
) -> str:
    """Return the value of a parameter in lower case; the first choice is the default."""
    if name not in values:
        return choices[0] if default is None else default
    value = values[name].lower()
    _check_choices(name, values[name], [value], choices)
    return value


def _check_choices(name: str, value: str, given: Iterable[str], choices: Collection[str]) -> None:
    if not set(given) <= set(choices):
        raise BadParameter(quote_parameter(name, value), hint=f"Use {' or '.join(choices)}.", parameter=name)


def _parse_truth(values: Mapping[str, str], name: str) -> bool:
    value = values.get(name, "false")
    if value.lower() not in _TRUTHS:
        raise BadParameter(quote_parameter(name, value), hint="Use true or false.", parameter=name)
    return _TRUTHS[value.lower()]


def _parse_limit(value: str | None) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII) or int(value) < 1:
        raise BadParameter(quote_parameter("limit", value), hint="Use a number from 1 on.", parameter="limit")
    return int(value)


def _parse_gap(value: str) -> datetime.timedelta:
    is_number = re.fullmatch(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]{1,3})?", value, re.ASCII | re.IGNORECASE)
    seconds = float(value) if is_number else math.inf
    if seconds > _MAX_GAP_SECONDS:
        raise BadParameter(
            quote_parameter("mergegaps", value),
            hint=f"Use seconds, at most {_MAX_GAP_SECONDS:.0f}.",
            parameter="mergegaps",
        )
    return datetime.timedelta(seconds=seconds)
