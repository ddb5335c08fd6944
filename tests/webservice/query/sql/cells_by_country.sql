SELECT
    '*' AS date,
    node COLLATE "C" AS node,
    network COLLATE "C" AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    country COLLATE "C" AS country,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    CASE WHEN hll_cardinality(hll_union_agg(clients)) < :minimum OR max(CASE WHEN withheld THEN 1 ELSE 0 END) = 1 THEN hll_union_agg(clients) END AS hll_clients,
    max(CASE WHEN withheld THEN 0 ELSE 1 END) AS visible,
    min(CASE WHEN authorized THEN 1 ELSE 0 END) AS authorized,
    max(CASE WHEN withheld THEN 1 ELSE 0 END) AS has_withheld,
    substr(CAST(max(date) AS text), 1, 7) AS last_month
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
        AND stats.network IN :network
) AS permitted
GROUP BY 1, 2, 3, 4, 5, 6, 7
