SELECT
    replace(substr(CAST(hour AS text), 1, 13), ' ', 'T') COLLATE "C" AS date,
    node COLLATE "C" AS node,
    network COLLATE "C" AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    '*' AS country,
    '*' AS city,
    '*' AS geohash,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    CASE WHEN hll_cardinality(hll_union_agg(clients)) < :minimum OR max(CASE WHEN withheld THEN 1 ELSE 0 END) = 1 THEN hll_union_agg(clients) END AS hll_clients,
    max(CASE WHEN withheld THEN 0 ELSE 1 END) AS visible,
    min(CASE WHEN authorized THEN 1 ELSE 0 END) AS authorized,
    max(CASE WHEN withheld THEN 1 ELSE 0 END) AS has_withheld,
    substr(CAST(max(hour) AS text), 1, 7) AS last_month
FROM (
    SELECT
        stats.*,
        nodes.name AS node,
        stats.network <> ''
            AND nodes.restriction_policy <> COALESCE(networks.inverted_policy, false)
            AND NOT (false) AS withheld,
        (false) AS authorized
    FROM streaming_by_hour AS stats
    JOIN nodes ON nodes.id = stats.node_id
    LEFT JOIN networks ON networks.node_id = stats.node_id AND networks.name = stats.network
    WHERE stats.hour >= :start AND stats.hour < :stop
        AND stats.direction = :direction
) AS permitted
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
