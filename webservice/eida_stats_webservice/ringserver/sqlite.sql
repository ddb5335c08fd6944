-- Sums of the payloads of ringservers: statements for SQLite.

-- name: create_staging_stats()!
-- Create a table for the incoming rows. It outlives the transaction, so it is emptied before use.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_stats (
    date text, direction text, network text, station text, location text, channel text, country text, bytes
    integer, packets integer, records integer, clients blob
);

-- name: empty_staging_stats()!
DELETE FROM temp.staging_stats;

-- name: load_staging_stats(date, direction, network, station, location, channel, country, bytes, packets, records, clients)*!
INSERT INTO temp.staging_stats VALUES (
    :date, :direction, :network, :station, :location, :channel, :country, :bytes, :packets, :records, :clients
);

-- name: create_staging_days()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_days (
    date text, direction text, network text, country text, bytes integer, packets integer, records integer,
    clients blob
);

-- name: empty_staging_days()!
DELETE FROM temp.staging_days;

-- name: load_staging_days(date, direction, network, country, bytes, packets, records, clients)*!
INSERT INTO temp.staging_days VALUES (
    :date, :direction, :network, :country, :bytes, :packets, :records, :clients
);

-- name: create_staging_hours()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_hours (
    hour text, direction text, network text, country text, bytes integer, packets integer, clients blob
);

-- name: empty_staging_hours()!
DELETE FROM temp.staging_hours;

-- name: load_staging_hours(hour, direction, network, country, bytes, packets, clients)*!
INSERT INTO temp.staging_hours VALUES (
    :hour, :direction, :network, :country, :bytes, :packets, :clients
);

-- name: create_staging_places()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_places (
    date text, direction text, country text, city text, geohash text, bytes integer, packets integer, clients
    blob
);

-- name: empty_staging_places()!
DELETE FROM temp.staging_places;

-- name: load_staging_places(date, direction, country, city, geohash, bytes, packets, clients)*!
INSERT INTO temp.staging_places VALUES (
    :date, :direction, :country, :city, :geohash, :bytes, :packets, :clients
);

-- name: merge_months(node_id)!
-- Add the staging rows of days to the sums by month and network.
INSERT INTO ringserver_by_month AS stored (
    node_id, date, direction, network, country, bytes, packets, records, clients
)
SELECT
    :node_id, substr(date, 1, 8) || '01', direction, network, country, sum(bytes), sum(packets), sum(records),
    hll_union_agg(clients)
FROM staging_days WHERE true
GROUP BY 2, direction, network, country
ON CONFLICT (node_id, date, direction, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records,
    clients = hll_union(stored.clients, excluded.clients);

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;

-- name: old_months(before)
-- Return the months of events that are wholly older than a day.
SELECT DISTINCT substr(time, 1, 7) FROM ringserver_events WHERE substr(time, 1, 7) < substr(:before, 1, 7) ORDER BY 1;

-- name: next_step(before)^
-- Return the first month of old events, the statement that deletes them, and whether it is the last one.
SELECT month, 'DELETE FROM ringserver_events WHERE substr(time, 1, 7) = ''' || month || '''', 1
FROM (SELECT substr(min(time), 1, 7) AS month FROM ringserver_events)
WHERE month < substr(:before, 1, 7);
