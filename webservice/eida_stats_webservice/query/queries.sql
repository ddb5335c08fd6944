-- Statistics. Months are ISO 8601 text.

-- name: data_version()^
-- Two revisions, one of which increases with each change of statistics, nodes or networks, and the times of the last
-- changes. Changes of nodes by an older version of the service show in the times only.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;

-- name: statistics(source, months, some_nodes, nodes, some_networks, networks, some_countries, countries, station, location, channel, by_month, by_year, by_node, by_network, by_station, by_location, by_channel, by_country, named, groups, granted, sketches, sort, direction, rows)
-- Sums over some months from the smallest table that has the dimensions of the query. '*' stands for all.
-- Networks that the client may not see are one row Other of each date and country. A query for networks or streams
-- leaves them out, since the row Other would be about these alone.
WITH stats AS (
    SELECT node_id, date, network, station, location, channel, country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats WHERE :source = 'streams'
    UNION ALL
    SELECT node_id, date, network, '', '', '', country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_network_country WHERE :source = 'networks and countries'
    UNION ALL
    SELECT node_id, date, network, '', '', '', '',
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_network WHERE :source = 'networks'
    UNION ALL
    SELECT node_id, date, '', '', '', '', country,
        bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
    FROM dataselect_stats_by_country WHERE :source = 'countries'
), permissions AS (
    -- Requests that failed belong to no network, and are public. An unknown network follows the policy of its node.
    SELECT stats.*, nodes.name AS node,
        (:by_network OR :named OR :sketches) AND stats.network <> ''
            AND nodes.restriction_policy <> COALESCE(networks.inverted_policy, false) AS restricted,
        COALESCE(networks.eas_group, '') IN :groups OR COALESCE(nodes.eas_group, '') IN :groups
            OR stats.network IN :granted AS authorized
    FROM stats
    JOIN nodes ON nodes.id = stats.node_id
    LEFT JOIN networks ON (:by_network OR :named OR :sketches)
        AND networks.node_id = stats.node_id AND networks.name = stats.network
    WHERE stats.date IN :months
        AND (NOT :some_nodes OR nodes.name IN :nodes)
        AND (NOT :some_networks OR stats.network IN :networks)
        AND (NOT :some_countries OR stats.country IN :countries)
        AND (:station = '' OR regexp_like(stats.station, :station))
        AND (:location = '' OR regexp_like(stats.location, :location))
        AND (:channel = '' OR regexp_like(stats.channel, :channel))
), answer AS (
    SELECT
        CASE WHEN :by_month THEN substr(CAST(date AS text), 1, 7)
            WHEN :by_year THEN substr(CAST(date AS text), 1, 4) ELSE '*' END COLLATE "C" AS date,
        CASE WHEN NOT :by_node THEN '*' WHEN :by_network AND withheld THEN 'Other' ELSE node END COLLATE "C" AS node,
        CASE WHEN NOT :by_network THEN '*' WHEN withheld THEN 'Other' ELSE network END COLLATE "C" AS network,
        CASE WHEN NOT :by_station OR withheld THEN '*' ELSE station END COLLATE "C" AS station,
        CASE WHEN NOT :by_location OR withheld THEN '*' ELSE location END COLLATE "C" AS location,
        CASE WHEN NOT :by_channel OR withheld THEN '*' ELSE channel END COLLATE "C" AS channel,
        CASE WHEN NOT :by_country THEN '*' ELSE country END COLLATE "C" AS country,
        sum(bytes) AS bytes,
        sum(nb_reqs) AS nb_reqs,
        sum(nb_successful_reqs) AS nb_successful_reqs,
        sum(nb_failedrequests) AS nb_unsuccessful_reqs,
        hll_cardinality(hll_union_agg(clients)) AS clients,
        CASE WHEN :sketches THEN hll_union_agg(clients) END AS hll_clients,
        max(CASE WHEN withheld THEN 0 ELSE 1 END) AS visible,
        min(CASE WHEN authorized THEN 1 ELSE 0 END) AS authorized,
        max(CASE WHEN withheld THEN 1 ELSE 0 END) AS has_withheld,
        substr(CAST(max(date) AS text), 1, 7) AS last_month
    FROM (SELECT permissions.*, restricted AND NOT authorized AS withheld FROM permissions) AS permitted
    WHERE NOT (withheld AND :named)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
)
SELECT * FROM answer
ORDER BY
    CASE WHEN :direction > 0 THEN CASE :sort WHEN 'node' THEN node WHEN 'network' THEN network
        WHEN 'station' THEN station WHEN 'location' THEN location WHEN 'channel' THEN channel
        WHEN 'country' THEN country END END,
    CASE WHEN :direction < 0 THEN CASE :sort WHEN 'date' THEN date WHEN 'node' THEN node
        WHEN 'network' THEN network WHEN 'station' THEN station WHEN 'location' THEN location
        WHEN 'channel' THEN channel WHEN 'country' THEN country END END DESC,
    :direction * CASE :sort WHEN 'bytes' THEN bytes WHEN 'nb_reqs' THEN nb_reqs
        WHEN 'nb_successful_reqs' THEN nb_successful_reqs WHEN 'nb_unsuccessful_reqs' THEN nb_unsuccessful_reqs
        WHEN 'clients' THEN clients END,
    date, node, network, station, location, channel, country
LIMIT :rows;
