"""Declare sources of statistics as cubes: tables of sums by date, dimensions and measures.

The parameters of a query, its SQL, the suppression of small groups and the columns of answers follow from the
declaration. A new source of statistics needs a cube, and no code in this package.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property

from eida_stats_webservice.query import filters

ALL = "*"
"""The key of a sum over all values of a dimension."""


@dataclass(frozen=True)
class Grain:
    """A unit of time by which sums can be divided.

    Attributes:
        name: the name, as in `details=month`.
        characters: the length of its ISO 8601 form.
        max_days: the longest period of a query by this unit.
    """

    name: str
    characters: int
    max_days: int | None = None

    @property
    def is_daily(self) -> bool:
        """Whether it is a day or shorter."""
        return self.characters > MONTH.characters


YEAR = Grain("year", 4)
MONTH = Grain("month", 7)
DAY = Grain("day", 10)
HOUR = Grain("hour", 13, max_days=400)


@dataclass(frozen=True)
class Dimension:
    """A property by which sums can be divided and selected.

    Attributes:
        name: the name of its parameter and of its column, in answers and in tables.
        parse_filter: parses the name and value of the parameter, and whether wildcards are allowed; None if the
            dimension only divides sums.
        alias: another name of the parameter.
        is_public: whether public queries can use it.
        has_patterns: whether its filters are patterns with * and ?, not values.
    """

    name: str
    parse_filter: Callable[[str, str, bool], tuple[str, ...]] | None
    alias: str | None = None
    is_public: bool = True
    has_patterns: bool = False


@dataclass(frozen=True)
class Choice:
    """A parameter that selects one of several kinds of rows. Sums never add up two kinds.

    Attributes:
        name: the name of the parameter and of the column in all tables.
        values: the possible values; the first one is the default.
    """

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Measure:
    """A sum of integers.

    Attributes:
        name: the name of its column in answers.
        column: the name of its column in the tables.
        parameter: the parameter that adds it to answers; None if all answers have it.
    """

    name: str
    column: str
    parameter: str | None = None


@dataclass(frozen=True)
class Table:
    """A table with one row for each node, time and combination of dimensions, and a sketch `clients`.

    Attributes:
        name: the name of the table.
        time: the column with the beginning of the unit of time.
        grain: the unit of time.
        dimensions: the names of its dimensions, without node.
        lacks: the names of measures that it does not have. They are null in answers.
        first_day: an SQL expression for the first day that it has, if earlier ones are deleted. A smaller table
            must have the sums of all days, so that only queries by a unit of time read this one.
    """

    name: str
    time: str
    grain: Grain
    dimensions: frozenset[str]
    lacks: frozenset[str] = frozenset()
    first_day: str | None = None


NODE = Dimension("node", filters.parse_names)
NETWORK = Dimension("network", filters.parse_networks, alias="net")
STATION = Dimension("station", filters.parse_stations, alias="sta", is_public=False, has_patterns=True)
LOCATION = Dimension("location", filters.parse_locations, alias="loc", is_public=False, has_patterns=True)
CHANNEL = Dimension("channel", filters.parse_channels, alias="cha", is_public=False, has_patterns=True)
COUNTRY = Dimension("country", filters.parse_countries)


@dataclass(frozen=True, eq=False)
class Cube:
    """A source of statistics.

    Attributes:
        name: the name, and the first part of the paths of its queries.
        tables: the tables, from the smallest to the largest. A query reads the first one that has all it needs.
        levels: dimensions, each of which divides the ones before it: node, network, and perhaps deeper ones.
        details: dimensions that divide any level.
        grains: the units of time, from the longest to the shortest.
        measures: the measures.
        choices: further parameters.
        has_sketches: whether answers can include the sketches of the clients.
        has_clients: whether answers have the number of distinct clients.
    """

    name: str
    tables: tuple[Table, ...]
    levels: tuple[Dimension, ...]
    details: tuple[Dimension, ...]
    grains: tuple[Grain, ...]
    measures: tuple[Measure, ...]
    choices: tuple[Choice, ...] = ()
    has_sketches: bool = True
    has_clients: bool = True

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions in the order of the columns."""
        return (*self.levels, *self.details)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The names of the columns that identify a row of an answer: the date and the dimensions."""
        return ("date", *(dimension.name for dimension in self.dimensions))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The names of the columns with numbers: the measures, and the number of distinct clients, if any."""
        return (*(measure.name for measure in self.measures), *(["clients"] if self.has_clients else []))

    def find_grain(self, details: Collection[str]) -> Grain | None:
        """Return the unit of time among some details."""
        return next((grain for grain in self.grains if grain.name in details), None)

    def find_table(self, dimensions: set[str], grain: Grain | None) -> Table | None:
        """Return the smallest table with some dimensions and a unit of time, or None if there is none."""
        characters = 0 if grain is None else grain.characters
        return next(
            (
                table
                for table in self.tables
                if dimensions <= table.dimensions and characters <= table.grain.characters
            ),
            None,
        )
