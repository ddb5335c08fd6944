-- Sums of the payloads of ringservers. Days and hours are text in ISO 8601 format.

-- name: add_networks(node_id)!
-- Add the networks of the staging rows, except known ones.
INSERT INTO networks (node_id, name)
SELECT DISTINCT :node_id, network FROM staging_days WHERE network <> '' ORDER BY network
ON CONFLICT (node_id, name) DO NOTHING;

-- name: add_stats(node_id)!
-- Add the staging rows of one payload to the sums by month and stream. It has each key once, so nothing is united in
-- between, which takes as long as all else.
INSERT INTO ringserver_stats AS stored (
    node_id, date, direction, network, station, location, channel, country, bytes, packets, records, clients
)
SELECT
    :node_id, date, direction, network, station, location, channel, country, bytes, packets, records, clients
FROM staging_stats WHERE true
ON CONFLICT (node_id, date, direction, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_stats(node_id)!
-- Add the staging rows to the sums by month and stream. Several payloads may have the same key.
INSERT INTO ringserver_stats AS stored (
    node_id, date, direction, network, station, location, channel, country, bytes, packets, records, clients
)
SELECT
    :node_id, date, direction, network, station, location, channel, country, sum(bytes), sum(packets),
    sum(records), hll_union_agg(clients)
FROM staging_stats WHERE true
GROUP BY date, direction, network, station, location, channel, country
ON CONFLICT (node_id, date, direction, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_days(node_id, days)!
-- Add the staging rows of some days to the sums by day and network. Several payloads may have the same key.
INSERT INTO ringserver_by_day AS stored (
    node_id, date, direction, network, country, bytes, packets, records, clients
)
SELECT
    :node_id, date, direction, network, country, sum(bytes), sum(packets), sum(records), hll_union_agg(clients)
FROM staging_days WHERE date IN :days
GROUP BY date, direction, network, country
ON CONFLICT (node_id, date, direction, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_hours(node_id)!
-- Add the staging rows to the sums by hour and network. Several payloads may have the same key.
INSERT INTO ringserver_by_hour AS stored (
    node_id, hour, direction, network, country, bytes, packets, clients
)
SELECT
    :node_id, hour, direction, network, country, sum(bytes), sum(packets), hll_union_agg(clients)
FROM staging_hours WHERE true
GROUP BY hour, direction, network, country
ON CONFLICT (node_id, hour, direction, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_hour_clients(node_id)!
-- Add the staging rows of hours to the clients of all networks and countries.
INSERT INTO ringserver_clients_by_hour AS stored (node_id, hour, direction, clients)
SELECT :node_id, hour, direction, hll_union_agg(clients)
FROM staging_hours WHERE true
GROUP BY hour, direction
ON CONFLICT (node_id, hour, direction) DO UPDATE SET clients = hll_union(stored.clients, excluded.clients);

-- name: merge_places(node_id)!
-- Add the staging rows to the sums by day and place. Several payloads may have the same key.
INSERT INTO ringserver_by_place AS stored (
    node_id, date, direction, country, city, geohash, bytes, packets, clients
)
SELECT
    :node_id, date, direction, country, city, geohash, sum(bytes), sum(packets), hll_union_agg(clients)
FROM staging_places WHERE true
GROUP BY date, direction, country, city, geohash
ON CONFLICT (node_id, date, direction, country, city, geohash) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    clients = hll_union(stored.clients, excluded.clients);

-- name: remove_stats(node_id, months)!
-- Delete a node's sums of some months before they are computed again.
DELETE FROM ringserver_stats WHERE node_id = :node_id AND date IN :months;

-- name: remove_months(node_id, months)!
DELETE FROM ringserver_by_month WHERE node_id = :node_id AND date IN :months;

-- name: remove_days(node_id, day)!
-- Delete a node's sums of a day before they are computed again.
DELETE FROM ringserver_by_day WHERE node_id = :node_id AND date = :day;

-- name: remove_places(node_id, day)!
DELETE FROM ringserver_by_place WHERE node_id = :node_id AND date = :day;

-- name: remove_hours(node_id, start, stop)!
DELETE FROM ringserver_by_hour WHERE node_id = :node_id AND hour >= :start AND hour < :stop;

-- name: remove_hour_clients(node_id, start, stop)!
DELETE FROM ringserver_clients_by_hour WHERE node_id = :node_id AND hour >= :start AND hour < :stop;

-- name: hours_kept_from()$
-- Return the first day of which hours are kept.
SELECT CAST(hours_from AS text) FROM ringserver_pruned;

-- name: days_of_node(node_id)
-- Return one or more days of each month for which a node has sums or payloads in force.
SELECT CAST(date AS text) FROM ringserver_stats WHERE node_id = :node_id
UNION SELECT CAST(date AS text) FROM ringserver_by_month WHERE node_id = :node_id
UNION SELECT CAST(date AS text) FROM ringserver_by_day WHERE node_id = :node_id
UNION SELECT substr(CAST(hour AS text), 1, 10) FROM ringserver_by_hour WHERE node_id = :node_id
UNION SELECT substr(CAST(hour AS text), 1, 10) FROM ringserver_clients_by_hour WHERE node_id = :node_id
UNION SELECT CAST(date AS text) FROM ringserver_by_place WHERE node_id = :node_id
UNION SELECT CAST(starts_at AS text) FROM payloads
    WHERE node_id = :node_id AND kind = 'ringserver' AND withdrawn_at IS NULL;

-- name: read_stats(node_id, start, stop)
SELECT date, direction, network, station, location, channel, country, bytes, packets, records, clients
FROM ringserver_stats WHERE node_id = :node_id AND date >= :start AND date < :stop;

-- name: read_months(node_id, start, stop)
SELECT date, direction, network, country, bytes, packets, records, clients
FROM ringserver_by_month WHERE node_id = :node_id AND date >= :start AND date < :stop;

-- name: read_days(node_id, start, stop)
SELECT date, direction, network, country, bytes, packets, records, clients
FROM ringserver_by_day WHERE node_id = :node_id AND date >= :start AND date < :stop;

-- name: read_hours(node_id, start, stop)
SELECT hour, direction, network, country, bytes, packets, clients
FROM ringserver_by_hour WHERE node_id = :node_id AND hour >= :start AND hour < :stop;

-- name: read_hour_clients(node_id, start, stop)
SELECT hour, direction, clients
FROM ringserver_clients_by_hour WHERE node_id = :node_id AND hour >= :start AND hour < :stop;

-- name: read_places(node_id, start, stop)
SELECT date, direction, country, city, geohash, bytes, packets, clients
FROM ringserver_by_place WHERE node_id = :node_id AND date >= :start AND date < :stop;
