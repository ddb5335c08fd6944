"""Parse the parameters of queries about connections."""

import datetime
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from eida_stats_webservice.connections.counts import END_OF_TIME
from eida_stats_webservice.connections.models import FIRST_MOMENT
from eida_stats_webservice.connections.series import Period
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.query.model import OutputOptions
from eida_stats_webservice.query.parameters import parse_choice
from eida_stats_webservice.web.moments import parse_moment
from eida_stats_webservice.web.parameters import quote_parameter, require_parameters

FORMATS = ("csv", "json", "text")
MAX_ROWS = 10_000
_OUTPUT = ("format", "header", "nodata")
_INTERVAL = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
_UNITS = {"m": 1, "h": 60, "d": 1440}
_HOUR, _DAY = 60, 1440
# Others that are as long as one of these work, too.
_INTERVALS = "1m 2m 3m 4m 5m 6m 10m 12m 15m 20m 30m 1h 2h 3h 4h 6h 8h 12h 1d"
_MINUTE = datetime.timedelta(minutes=1)
_PROTOCOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,31}", re.ASCII)


class CountQuery(NamedTuple):
    """The parameters of a query for one count."""

    space: str
    moment: datetime.datetime
    nearest: bool
    live: bool
    protocol: str | None


def read_values(
    parameters: list[tuple[str, str]], *names: str, optional: Collection[str] = ()
) -> tuple[dict[str, str], OutputOptions]:
    """Return the values of parameters, and how the answer is written.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    values = require_parameters(parameters, *names, optional=(*optional, *_OUTPUT))
    nodata = parse_choice("nodata", values.get("nodata"), ("204", "404"))
    options = OutputOptions(
        format=parse_choice("format", values.get("format"), FORMATS) or "csv",
        plain_header=parse_choice("header", values.get("header"), ("plain",)) is not None,
        nodata=None if nodata is None else int(nodata),
    )
    return values, options


def parse_count_query(values: Mapping[str, str], now: datetime.datetime) -> CountQuery:
    """Parse a query for one count."""
    query = CountQuery(
        space=values["space"],
        moment=parse_moment(values["time"], "time") if "time" in values else now,
        nearest=parse_choice("match", values.get("match"), ("before", "nearest")) == "nearest",
        live=parse_choice("mode", values.get("mode"), ("reconciled", "live")) == "live",
        protocol=parse_protocol(values),
    )
    if query.live and query.nearest:
        raise BadParameter("mode=live with match=nearest", hint="Use match=before.", parameter="match")
    if query.live and query.protocol is not None:
        raise BadParameter(
            "mode=live with protocol",
            hint="Counts that were shown are those of all protocols.",
            parameter="protocol",
        )
    return query


def parse_protocol(values: Mapping[str, str]) -> str | None:
    """Return the protocol that a query names. Capitals do not matter."""
    protocol = values.get("protocol")
    if protocol is not None and _PROTOCOL.fullmatch(protocol) is None:
        raise BadParameter(
            quote_parameter("protocol", protocol), hint="Use a protocol such as SeedLink.", parameter="protocol"
        )
    return protocol


def parse_window(
    values: Mapping[str, str], default_end: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the first moment of a window, and the first one after it."""
    start = parse_moment(values["start"], "start")
    end = parse_moment(values["end"], "end") if "end" in values else default_end
    if end <= start:
        raise BadParameter("end is not after start", parameter="end")
    return start, end


def parse_period(values: Mapping[str, str], now: datetime.datetime) -> Period:
    """Return the whole intervals that contain a window, but none that has not begun.

    Raises:
        BadParameter: if there are more than `MAX_ROWS`, or if a value is bad.
    """
    interval = _parse_interval(values.get("interval", "1h"))
    # A start in the future is no mistake.
    start, end = parse_window(values, END_OF_TIME)
    begin, end = _floor(max(start, FIRST_MOMENT), interval), min(end, now)
    last = begin if end <= begin else _floor(end - datetime.timedelta(microseconds=1), interval) + interval
    rows = (last - begin) // interval
    if rows > MAX_ROWS:
        raise BadParameter(
            f"{rows} intervals", hint=f"Ask for at most {MAX_ROWS}, or for longer ones.", parameter="interval"
        )
    return Period(begin, last, interval)


def _parse_interval(text: str) -> datetime.timedelta:
    found = _INTERVAL.fullmatch(text)
    minutes = int(found[1]) * _UNITS[found[2]] if found else 0
    if not minutes or minutes > _DAY or (_HOUR % minutes and (minutes % _HOUR or _DAY % minutes)):
        raise BadParameter(
            quote_parameter("interval", text),
            hint=f"Use one of {_INTERVALS}.",
            parameter="interval",
        )
    return minutes * _MINUTE


def _floor(moment: datetime.datetime, interval: datetime.timedelta) -> datetime.datetime:
    """Return the start of the interval that contains a moment. The first interval of a day begins at midnight."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // interval * interval
