"""The cube of holdings: the parameters and the columns of answers. Other modules read its tables."""

from eida_stats_webservice.dataselect.cube import DATASELECT
from eida_stats_webservice.query.cube import MONTH, YEAR, Cube, Dimension, Measure, Table

HELD_YEAR = Dimension("held_year", None)
"""The year of the data. It divides what is held, and not what is served."""

STREAMS = "streams"
"""The parameter that adds the numbers of streams."""

BYTES_SERVED = "bytes_served"
BYTES_HELD = "bytes_held"
SERVED_PER_HELD = "served_per_held"

HOLDINGS = Cube(
    name="holdings",
    # Those of dataselect have all dimensions of these but the year of the data.
    tables=(
        Table("holdings_history", "month", MONTH, frozenset({"network", HELD_YEAR.name})),
        Table("holdings", "year", YEAR, frozenset({"network", "station", "location", "channel", HELD_YEAR.name})),
    ),
    levels=DATASELECT.levels,
    details=(HELD_YEAR,),
    grains=(),
    measures=(
        Measure(BYTES_SERVED, "bytes"),
        Measure(BYTES_HELD, "bytes"),
        Measure(SERVED_PER_HELD, "bytes"),
        *(
            Measure(name, name, parameter=STREAMS)
            for name in ("streams_held", "streams_served", "streams_never_served", "streams_not_held")
        ),
    ),
    has_sketches=False,
    has_clients=False,
)
