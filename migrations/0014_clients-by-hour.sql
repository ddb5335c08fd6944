-- Clients of all networks and countries by hour, for the dashboard. There are few rows, so none is united when it is read.
-- depends: 0013_archive

CREATE TABLE ringserver_clients_by_hour (
    hour timestamptz NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (hour, node_id, direction)
);
COMMENT ON TABLE ringserver_clients_by_hour IS 'of all networks and countries';

INSERT INTO ringserver_clients_by_hour (hour, node_id, direction, clients)
SELECT hour, node_id, direction, hll_union_agg(clients) FROM ringserver_by_hour GROUP BY 1, 2, 3;

CREATE OR REPLACE VIEW grafana_clients_by_hour AS
SELECT hour, nodes.name AS node, direction, ceil(hll_cardinality(clients))::bigint AS clients
FROM ringserver_clients_by_hour JOIN nodes ON nodes.id = node_id;
