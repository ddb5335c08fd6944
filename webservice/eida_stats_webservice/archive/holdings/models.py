"""Queries of holdings, and the rows of their answers."""

import msgspec

from eida_stats_webservice.query.model import OutputOptions, StatisticsQuery

Codes = tuple[str, ...]
"""Node, network, station, location and channel; `*` stands for all of them."""

ALL_YEARS = ""
PRESENT = "present"


class HoldingsQuery(msgspec.Struct, frozen=True):
    """A query of holdings.

    Attributes:
        selection: the period of requests, the filters and the levels, as in queries of statistics.
        options: how the answer is written.
        is_growth: whether the answer has what was held at the end of each month, and nothing that was served.
    """

    selection: StatisticsQuery
    options: OutputOptions
    is_growth: bool = False

    @property
    def has_streams(self) -> bool:
        """Whether streams are counted."""
        return bool(self.options.measures)

    @property
    def divides_years(self) -> bool:
        """Whether what is held is divided by the year of the data."""
        return bool(self.selection.details)

    @property
    def is_of_streams(self) -> bool:
        """Whether it divides or selects by something below networks. Snapshots do not have this."""
        levels = [level.name for level in self.selection.cube.levels[2:]]
        return self.selection.level in levels or not self.selection.filtered.isdisjoint(levels)


class NodeState(msgspec.Struct, frozen=True):
    """The state of the holdings of a node, as an answer refers to it.

    Attributes:
        node_id: the id of the node.
        as_of: the month of the snapshot that an answer refers to, as YYYY-MM, or PRESENT.
        snapshot: the first day of that month, or of the last snapshot.
    """

    node_id: int
    as_of: str
    snapshot: str


class Held(msgspec.Struct, frozen=True):
    """Bytes that a node holds.

    Attributes:
        codes: node, network and, if the answer has them, the codes of the stream.
        bytes: the size of the records.
        year: the year of the data; ALL_YEARS if they are not divided by it.
        month: the month of the snapshot as YYYY-MM, for growth.
    """

    codes: Codes
    bytes: int
    year: str = ALL_YEARS
    month: str = ""


class StreamCounts(msgspec.Struct, frozen=True):
    """Numbers of streams.

    Attributes:
        codes: as in `Held`.
        held: those in the catalogue of the node.
        served: those with bytes served in the period.
        never_served: those held and not served.
        not_held: those served and not held.
    """

    codes: Codes
    held: int
    served: int
    never_served: int
    not_held: int


class HoldingsRow(msgspec.Struct, frozen=True):
    """A row of an answer.

    Attributes:
        keys: the date and the dimensions, in the order of the cube's keys.
        measures: in the order of the cube's measures. None is unknown, or must not be shown.
        as_of: the states that "held" refers to, separated by commas; None if nothing is known.
    """

    keys: tuple[str, ...]
    measures: tuple[int | float | None, ...]
    as_of: str | None = None

    @property
    def numbers(self) -> tuple[int | float | None, ...]:
        """The measures. There is no number of clients."""
        return self.measures
