-- Sums of dataselect by station.
-- depends: 0014_clients-by-hour

-- SQL cannot unite sketches here, so `eida_statsman db migrate` fills the table.
CREATE TABLE dataselect_stats_by_station (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date text NOT NULL,
    network text NOT NULL CHECK (length(network) <= 8),
    station text NOT NULL CHECK (length(station) <= 8),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer'),
    nb_reqs integer NOT NULL CHECK (typeof(nb_reqs) = 'integer'),
    nb_successful_reqs integer NOT NULL CHECK (typeof(nb_successful_reqs) = 'integer'),
    nb_failedrequests integer NOT NULL CHECK (typeof(nb_failedrequests) = 'integer'),
    clients blob NOT NULL,
    PRIMARY KEY (node_id, date, network, station)
);
