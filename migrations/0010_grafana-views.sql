-- The views of the dashboard for Grafana. None has a sketch: sketches stand for single clients, views only count them.
-- depends: 0009_ringserver-events

CREATE VIEW grafana_nodes AS SELECT name AS node FROM nodes;

CREATE VIEW grafana_networks AS
SELECT nodes.name AS node, networks.name AS network FROM networks JOIN nodes ON nodes.id = node_id
UNION ALL SELECT name, '(none)' FROM nodes;
COMMENT ON VIEW grafana_networks IS '(none) is the network of streams whose id has none, as in the other views';

-- The rows of the sums. Times come first in the keys of the tables, so conditions on them find few rows.
CREATE VIEW grafana_by_hour AS
SELECT hour, nodes.name AS node, direction, COALESCE(NULLIF(network, ''), '(none)') AS network, country, bytes, packets
FROM ringserver_by_hour JOIN nodes ON nodes.id = node_id;

CREATE VIEW grafana_by_day AS
SELECT
    date, nodes.name AS node, direction, COALESCE(NULLIF(network, ''), '(none)') AS network, country, bytes, packets,
    records
FROM ringserver_by_day JOIN nodes ON nodes.id = node_id;

CREATE VIEW grafana_by_place AS
SELECT
    date, nodes.name AS node, direction, country, city, geohash, bytes, packets,
    ceil(hll_cardinality(clients))::bigint AS clients
FROM ringserver_by_place JOIN nodes ON nodes.id = node_id;

CREATE VIEW grafana_by_client AS
SELECT date, nodes.name AS node, server, direction, hosthash, bytes, packets, records
FROM ringserver_by_client JOIN nodes ON nodes.id = node_id;

-- Distinct clients of all networks. They cannot be added up, so there is a row for each node. Of days, the sums by place
-- have fewer rows than those by network, and the same clients. Because of the order, PostgreSQL sorts the groups: hashes
-- would keep 128 kB for each of them at once.
CREATE VIEW grafana_clients_by_hour AS
SELECT
    hour, nodes.name AS node, direction,
    ceil(hll_cardinality(hll_union_agg(clients ORDER BY hour)))::bigint AS clients
FROM ringserver_by_hour JOIN nodes ON nodes.id = node_id
GROUP BY hour, nodes.name, direction;

CREATE VIEW grafana_clients_by_day AS
SELECT
    date, nodes.name AS node, direction,
    ceil(hll_cardinality(hll_union_agg(clients ORDER BY date)))::bigint AS clients
FROM ringserver_by_place JOIN nodes ON nodes.id = node_id
GROUP BY date, nodes.name, direction;

CREATE VIEW grafana_clients_by_month AS
SELECT
    date_trunc('month', date::timestamp)::date AS month, nodes.name AS node, direction,
    ceil(hll_cardinality(hll_union_agg(clients ORDER BY date)))::bigint AS clients
FROM ringserver_by_place JOIN nodes ON nodes.id = node_id
GROUP BY month, nodes.name, direction;
