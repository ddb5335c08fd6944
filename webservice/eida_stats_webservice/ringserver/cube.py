"""The cube of the transfers of ringservers: by month down to streams, by day and hour down to networks."""

from eida_statistics.ringserver.events import RX, TX
from eida_stats_webservice.query.cube import (
    CHANNEL,
    COUNTRY,
    DAY,
    HOUR,
    LOCATION,
    MONTH,
    NETWORK,
    NODE,
    STATION,
    YEAR,
    Choice,
    Cube,
    Measure,
    Table,
)

RINGSERVER = Cube(
    name="ringserver",
    tables=(
        Table("ringserver_by_month", "date", MONTH, frozenset({"network", "country"})),
        Table("ringserver_by_day", "date", DAY, frozenset({"network", "country"})),
        Table(
            "ringserver_by_hour",
            "hour",
            HOUR,
            frozenset({"network", "country"}),
            lacks=frozenset({"records"}),
            first_day="(SELECT hours_from FROM ringserver_pruned)",
        ),
        Table(
            "ringserver_stats",
            "date",
            MONTH,
            frozenset({"network", "station", "location", "channel", "country"}),
        ),
    ),
    levels=(NODE, NETWORK, STATION, LOCATION, CHANNEL),
    details=(COUNTRY,),
    grains=(YEAR, MONTH, DAY, HOUR),
    measures=(Measure("bytes", "bytes"), Measure("packets", "packets"), Measure("records", "records")),
    choices=(Choice("direction", (TX, RX)),),
)
