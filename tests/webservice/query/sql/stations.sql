SELECT
    '*' AS date,
    node COLLATE "C" AS node,
    network COLLATE "C" AS network,
    station COLLATE "C" AS station,
    '*' AS location,
    '*' AS channel,
    '*' AS country,
    sum(bytes) AS bytes,
    sum(nb_reqs) AS nb_reqs,
    sum(nb_successful_reqs) AS nb_successful_reqs,
    sum(nb_failedrequests) AS nb_unsuccessful_reqs,
    hll_cardinality(hll_union_agg(clients)) AS clients,
    hll_union_agg(clients) AS hll_clients,
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
            AND NOT (COALESCE(networks.eas_group, '') IN :groups
            OR COALESCE(nodes.eas_group, '') IN :groups
            OR stats.network IN :granted) AS withheld,
        (COALESCE(networks.eas_group, '') IN :groups
            OR COALESCE(nodes.eas_group, '') IN :groups
            OR stats.network IN :granted) AS authorized
    FROM dataselect_stats_by_station AS stats
    JOIN nodes ON nodes.id = stats.node_id
    LEFT JOIN networks ON networks.node_id = stats.node_id AND networks.name = stats.network
    WHERE stats.date IN :months
        AND stats.network IN :network
) AS permitted
WHERE NOT withheld
GROUP BY 1, 2, 3, 4, 5, 6, 7
ORDER BY date, node, network, station, location, channel, country
