-- Sums of dataselect by station, for queries of the stations of a network.
-- depends: 0014_clients-by-hour

CREATE TABLE dataselect_stats_by_station (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date date NOT NULL,
    network varchar(8) NOT NULL,
    station varchar(8) NOT NULL,
    bytes bigint NOT NULL,
    nb_reqs bigint NOT NULL,
    nb_successful_reqs bigint NOT NULL,
    nb_failedrequests bigint NOT NULL,
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (node_id, date, network, station)
);

INSERT INTO dataselect_stats_by_station (
    node_id, date, network, station, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT
    node_id, date, network, station, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests),
    hll_union_agg(clients)
FROM dataselect_stats
GROUP BY 1, 2, 3, 4;
