SELECT
    replace(substr(CAST(date AS text), 1, 7), ' ', 'T') COLLATE "C" AS date,
    node COLLATE "C" AS node,
    network COLLATE "C" AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    country COLLATE "C" AS country,
    hll_cardinality(clients) AS clients,
    CASE WHEN hll_cardinality(clients) < :minimum OR CASE WHEN withheld THEN 1 ELSE 0 END = 1 THEN clients END AS hll_clients,
    CASE WHEN withheld THEN 0 ELSE 1 END AS visible,
    CASE WHEN authorized THEN 1 ELSE 0 END AS authorized,
    CASE WHEN withheld THEN 1 ELSE 0 END AS has_withheld,
    substr(CAST(date AS text), 1, 7) AS last_month
FROM (
    SELECT
        stats.*,
        nodes.name AS node,
        stats.network <> ''
            AND nodes.restriction_policy <> COALESCE(networks.inverted_policy, false)
            AND NOT (false) AS withheld,
        (false) AS authorized
    FROM dataselect_stats_by_network_country AS stats
    JOIN nodes ON nodes.id = stats.node_id
    LEFT JOIN networks ON networks.node_id = stats.node_id AND networks.name = stats.network
    WHERE stats.date IN :months
) AS permitted
