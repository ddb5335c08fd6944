CREATE OR REPLACE VIEW grafana_clients_by_hour AS
SELECT
    hour, nodes.name AS node, direction,
    ceil(hll_cardinality(hll_union_agg(clients ORDER BY hour)))::bigint AS clients
FROM ringserver_by_hour JOIN nodes ON nodes.id = node_id
GROUP BY hour, nodes.name, direction;
DROP TABLE ringserver_clients_by_hour;
