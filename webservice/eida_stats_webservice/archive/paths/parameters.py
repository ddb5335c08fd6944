"""Parse the parameters of the lookup of paths."""

import datetime
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from eida_stats_webservice.archive.paths.geometry import DEGREES, MERCATOR, PROJECTIONS, Geometry, parse_geometry
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.moments import parse_moment
from eida_stats_webservice.web.parameters import quote_parameter, require_parameters

GDAL = "gdal"
MSEED = "mseed"
_TIMES = ("time", "until")
OPERATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "list_root_gpath": (),
        "list_sub_gpath": (),
        "timestamps": (*_TIMES, "namespace", "metadata", "token"),
        "extents": ("namespace", "metadata", "srs"),
        "intersects": (*_TIMES, "namespace", "metadata", "srs", "wkt", "limit"),
    }
)
"""The parameters of each operation. An operation is itself a parameter, without a value."""

Range = tuple[datetime.datetime, datetime.datetime]
_START_OF_TIME = datetime.datetime.min.replace(tzinfo=datetime.UTC)
_END_OF_TIME = datetime.datetime.max.replace(tzinfo=datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)
_NAMESPACES = re.compile(r"[A-Za-z0-9_?*]{1,64}(,[A-Za-z0-9_?*]{1,64}){0,99}", re.ASCII)
_LIMIT = re.compile(r"[0-9]{1,8}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f-]{1,36}", re.ASCII)


class PathQuery(NamedTuple):
    """A query about what is below a path.

    Attributes:
        operation: what to return.
        time: a moment, or with `until` the start of a range; None if it is not given.
        until: the end of a range; None if it is not given.
        namespaces: names of channels or layers, with * and ?; None for all.
        metadata: `mseed` or `gdal`; None if it is not given.
        srs: the coordinates of the answer and of the geometry.
        geometry: where, without PostGIS; None for everywhere.
        wkt: where, with PostGIS; None for everywhere.
        limit: the maximum number of files; None for all.
        token: that of an earlier answer.
    """

    operation: str
    time: datetime.datetime | None = None
    until: datetime.datetime | None = None
    namespaces: tuple[str, ...] | None = None
    metadata: str | None = None
    srs: str = DEGREES
    geometry: Geometry | None = None
    wkt: str | None = None
    limit: int | None = None
    token: str | None = None

    @property
    def has_place(self) -> bool:
        """Whether the query selects by place."""
        return self.geometry is not None or self.wkt is not None

    @property
    def overlapped(self) -> Range:
        """The period that segments and layers have to overlap.

        As in GSKY, a range is a second longer at both ends.
        """
        if self.until is None:
            return (_START_OF_TIME, _END_OF_TIME) if self.time is None else (self.time, self.time)
        time = self.time or _START_OF_TIME
        start = time - _SECOND if time > _START_OF_TIME + _SECOND else time
        return start, self.until + _SECOND if self.until < _END_OF_TIME - _SECOND else self.until

    def select_stamps(self, now: datetime.datetime) -> Range:
        """Return the period of the stamps to return, of which none is in the future by default."""
        return self.time or _START_OF_TIME, self.until or now


def parse_path_query(parameters: list[tuple[str, str]], *, has_postgis: bool = False) -> PathQuery:
    """Parse a query. Empty values count as not given, as in GSKY.

    With PostGIS, `intersects` takes any geometry in any reference system, which PostGIS parses.

    Raises:
        BadParameter: naming a parameter that is missing, unknown, repeated or has a bad value.
    """
    operation = _find_operation(parameters)
    given = require_parameters(parameters, operation, optional=OPERATIONS[operation])
    if given.pop(operation):
        raise BadParameter(f"{operation} has a value", hint="It takes none.", parameter=operation)
    values = {name: value for name, value in given.items() if value}
    time, until = (parse_moment(values[name], name) if name in values else None for name in _TIMES)
    if time is not None and until is not None and until < time:
        raise BadParameter("until is before time", parameter="until")
    # As in GSKY, the box of an extent is in metres unless the client wants degrees.
    srs = values.get("srs", MERCATOR if operation == "extents" else DEGREES)
    is_any = has_postgis and operation == "intersects"
    if not is_any and srs not in PROJECTIONS:
        raise BadParameter(quote_parameter("srs", srs), hint=f"Use {' or '.join(PROJECTIONS)}.", parameter="srs")
    return PathQuery(
        operation=operation,
        time=time,
        until=until,
        namespaces=_parse_namespaces(values),
        metadata=_parse_metadata(values),
        srs=srs,
        geometry=parse_geometry(values["wkt"], srs) if "wkt" in values and not is_any else None,
        wkt=values.get("wkt") if is_any else None,
        limit=int(_match("limit", values, _LIMIT, "a whole number of at most 8 digits") or 0) or None,
        token=_match("token", values, _TOKEN, "the token of an earlier answer"),
    )


def _find_operation(parameters: list[tuple[str, str]]) -> str:
    found = [name for name, _ in parameters if name in OPERATIONS]
    if not found:
        raise BadParameter("there is no operation", hint=f"Use one of ?{', ?'.join(OPERATIONS)}.")
    if len(found) > 1:
        raise BadParameter(f"{found[0]} and {found[1]}", hint="Use one operation.", parameter=found[1])
    return found[0]


def _parse_namespaces(values: Mapping[str, str]) -> tuple[str, ...] | None:
    text = _match("namespace", values, _NAMESPACES, "names of channels or layers, such as BH?,HHZ")
    return None if text is None else tuple(text.split(","))


def _parse_metadata(values: Mapping[str, str]) -> str | None:
    metadata = values.get("metadata")
    if metadata not in (None, MSEED, GDAL):
        raise BadParameter(
            quote_parameter("metadata", metadata or ""), hint=f"Use {MSEED} or {GDAL}.", parameter="metadata"
        )
    return metadata


def _match(name: str, values: Mapping[str, str], pattern: re.Pattern[str], expected: str) -> str | None:
    text = values.get(name)
    if text is not None and pattern.fullmatch(text) is None:
        raise BadParameter(quote_parameter(name, text), hint=f"Use {expected}.", parameter=name)
    return text
