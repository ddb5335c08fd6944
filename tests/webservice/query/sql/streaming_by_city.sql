SELECT
    replace(substr(CAST(day AS text), 1, 10), ' ', 'T') COLLATE "C" AS date,
    '*' AS node,
    '*' AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    '*' AS country,
    city COLLATE "C" AS city,
    '*' AS geohash,
    sum(bytes) AS bytes,
    sum(nb_packets) AS packets,
    sum(nb_records) AS records,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    NULL AS hll_clients,
    1 AS visible,
    0 AS authorized,
    0 AS has_withheld,
    substr(CAST(max(day) AS text), 1, 7) AS last_month
FROM (
    SELECT
        stats.*,
        nodes.name AS node
    FROM streaming_by_place AS stats
    JOIN nodes ON nodes.id = stats.node_id
    WHERE stats.day >= :start AND stats.day < :stop
        AND stats.direction = :direction
) AS permitted
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ORDER BY date, node, network, station, location, channel, country, city, geohash
