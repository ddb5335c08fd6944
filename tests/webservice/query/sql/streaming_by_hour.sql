SELECT
    replace(substr(CAST(hour AS text), 1, 13), ' ', 'T') COLLATE "C" AS date,
    node COLLATE "C" AS node,
    '*' AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    '*' AS country,
    '*' AS city,
    '*' AS geohash,
    sum(bytes) AS bytes,
    sum(nb_packets) AS packets,
    CAST(NULL AS bigint) AS records,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    NULL AS hll_clients,
    1 AS visible,
    0 AS authorized,
    0 AS has_withheld,
    substr(CAST(max(hour) AS text), 1, 7) AS last_month
FROM (
    SELECT
        stats.*,
        nodes.name AS node
    FROM streaming_by_hour AS stats
    JOIN nodes ON nodes.id = stats.node_id
    WHERE stats.hour >= :start AND stats.hour < :stop
        AND stats.direction = :direction
) AS permitted
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ORDER BY date, node, network, station, location, channel, country, city, geohash
