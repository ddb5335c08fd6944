SELECT
    '*' AS date,
    '*' AS node,
    '*' AS network,
    '*' AS station,
    '*' AS location,
    '*' AS channel,
    '*' AS country,
    sum(bytes) AS bytes,
    sum(nb_reqs) AS nb_reqs,
    sum(nb_successful_reqs) AS nb_successful_reqs,
    sum(nb_failedrequests) AS nb_unsuccessful_reqs,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    NULL AS hll_clients,
    1 AS visible,
    0 AS authorized,
    0 AS has_withheld,
    substr(CAST(max(date) AS text), 1, 7) AS last_month
FROM (
    SELECT
        stats.*,
        nodes.name AS node
    FROM dataselect_stats_by_network AS stats
    JOIN nodes ON nodes.id = stats.node_id
    WHERE stats.date IN :months
) AS permitted
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY date, node, network, station, location, channel, country
