"""The cube of usage: one row has the figures of dataselect, those of real-time streams, and the clients of both.

It has no tables of its own. Each part of a row is a row of the public answer of another cube.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from eida_statistics.ringserver.events import TX
from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.cube import COUNTRY, MONTH, NETWORK, NODE, YEAR, Cube, Measure
from eida_stats_webservice.query.model import StatisticsQuery
from eida_stats_webservice.ringserver.cube import RINGSERVER


@dataclass(frozen=True, eq=False)
class Part:
    """The columns of a row that come from one cube.

    Attributes:
        cube: the cube.
        measures: the measures, by the name of the column.
        clients: the name of the column with the number of distinct clients.
        choices: the values of the choices of the cube.
    """

    cube: Cube
    measures: Mapping[str, str]
    clients: str
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return *self.measures, self.clients

    def select(self, query: StatisticsQuery) -> StatisticsQuery:
        """Return the query of this part for a query of usage. Its rows are ordered by their keys."""
        return msgspec.structs.replace(query, cube=self.cube, choices=self.choices, sort=None, limit=None)


PARTS = (
    Part(
        DATASELECT,
        measures={"dataselect_bytes": "bytes", "dataselect_reqs": "nb_reqs"},
        clients="dataselect_clients",
    ),
    # Data that ringservers received are not usage.
    Part(
        RINGSERVER,
        measures={"streaming_bytes": "bytes", "streaming_packets": "packets"},
        clients="streaming_clients",
        choices={"direction": TX},
    ),
)

USAGE = Cube(
    name="usage",
    # Those of ringservers have all dimensions of these.
    tables=DATASELECT.tables,
    levels=(NODE, NETWORK),
    details=(COUNTRY,),
    grains=(YEAR, MONTH),
    measures=tuple(Measure(name, name) for part in PARTS for name in part.columns),
    has_sketches=False,
)
