-- Sums of streams by month and network, for pages and queries by month.
-- depends: 0010_grafana-views

-- SQL cannot unite sketches here, so `eida_statsman db migrate` fills the table.
CREATE TABLE ringserver_by_month (
    date text NOT NULL CHECK (date LIKE '____-__-01'),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network text NOT NULL CHECK (length(network) <= 8),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    records integer NOT NULL CHECK (typeof(records) = 'integer' AND records >= 0),
    clients blob NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, country)
);
