"""The cube of the statistics of dataselect, which are monthly."""

from eida_stats_webservice.query.cube import (
    CHANNEL,
    COUNTRY,
    LOCATION,
    MONTH,
    NETWORK,
    NODE,
    STATION,
    YEAR,
    Cube,
    Measure,
    Table,
)

DATASELECT = Cube(
    name="dataselect",
    # The sums by network are fewer than those by country.
    tables=(
        Table("dataselect_stats_by_network", "date", MONTH, frozenset({"network"})),
        Table("dataselect_stats_by_country", "date", MONTH, frozenset({"country"})),
        Table("dataselect_stats_by_network_country", "date", MONTH, frozenset({"network", "country"})),
        Table("dataselect_stats_by_station", "date", MONTH, frozenset({"network", "station"})),
        Table(
            "dataselect_stats",
            "date",
            MONTH,
            frozenset({"network", "station", "location", "channel", "country"}),
        ),
    ),
    levels=(NODE, NETWORK, STATION, LOCATION, CHANNEL),
    details=(COUNTRY,),
    grains=(YEAR, MONTH),
    measures=(
        Measure("bytes", "bytes"),
        Measure("nb_reqs", "nb_reqs"),
        Measure("nb_successful_reqs", "nb_successful_reqs"),
        Measure("nb_unsuccessful_reqs", "nb_failedrequests", parameter="unsuccessful"),
    ),
)
