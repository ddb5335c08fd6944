-- Sums of the payloads of ringservers: statements for PostgreSQL.

-- name: create_staging_stats()!
-- Create a table for the incoming rows.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_stats (
    date date, direction text, network text, station text, location text, channel text, country text, bytes
    bigint, packets bigint, records bigint, clients hll(11, 5)
) ON COMMIT DROP;

-- name: empty_staging_stats()!
TRUNCATE staging_stats;

-- name: load_staging_stats()!
COPY staging_stats FROM STDIN;

-- name: create_staging_days()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_days (
    date date, direction text, network text, country text, bytes bigint, packets bigint, records bigint, clients
    hll(11, 5)
) ON COMMIT DROP;

-- name: empty_staging_days()!
TRUNCATE staging_days;

-- name: load_staging_days()!
COPY staging_days FROM STDIN;

-- name: create_staging_hours()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_hours (
    hour timestamptz, direction text, network text, country text, bytes bigint, packets bigint, clients hll(11,
    5)
) ON COMMIT DROP;

-- name: empty_staging_hours()!
TRUNCATE staging_hours;

-- name: load_staging_hours()!
COPY staging_hours FROM STDIN;

-- name: create_staging_places()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_places (
    date date, direction text, country text, city text, geohash text, bytes bigint, packets bigint, clients
    hll(11, 5)
) ON COMMIT DROP;

-- name: empty_staging_places()!
TRUNCATE staging_places;

-- name: load_staging_places()!
COPY staging_places FROM STDIN;

-- name: merge_months(node_id)!
-- Add the staging rows of days to the sums by month and network.
INSERT INTO ringserver_by_month AS stored (
    node_id, date, direction, network, country, bytes, packets, records, clients
)
SELECT
    :node_id, date_trunc('month', date::timestamp)::date, direction, network, country, sum(bytes), sum(packets),
    sum(records), hll_union_agg(clients)
FROM staging_days WHERE true
GROUP BY 2, direction, network, country
ON CONFLICT (node_id, date, direction, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records,
    clients = hll_union(stored.clients, excluded.clients);

-- name: has_rights()$
-- Return whether the role has the privileges of the service on the sums and on the records of raw logs. An older schema
-- lacks the tables; this is reported as a missing migration.
SELECT bool_and(COALESCE(has_table_privilege(to_regclass(name), privilege), true))
    AND COALESCE(has_table_privilege(to_regclass('ringserver_pruned'), 'SELECT'), true)
    AND COALESCE(has_function_privilege(to_regprocedure('ringserver_create_partition(date)'), 'EXECUTE'), true)
    AND COALESCE(has_function_privilege(to_regprocedure('ringserver_set_body(bigint, bytea)'), 'EXECUTE'), true)
FROM unnest(ARRAY[
    'ringserver_stats', 'ringserver_by_month', 'ringserver_by_day', 'ringserver_by_hour',
    'ringserver_clients_by_hour', 'ringserver_by_place', 'ringserver_records', 'ringserver_by_client',
    'ringserver_events'
]) AS name, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
WHERE name <> 'ringserver_events' OR privilege <> 'UPDATE';

-- name: old_months(before)
-- Return the months of the partitions of events that are wholly older than a day. Some may be detached, but are still
-- there, because an earlier run was interrupted.
SELECT replace(right(tables.relname, 7), '_', '-') FROM pg_class AS tables
WHERE tables.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'ringserver_events'::regclass)
    AND tables.relkind = 'r' AND tables.relname ~ '^ringserver_events_[0-9]{4}_[0-9]{2}$'
    AND to_date(right(tables.relname, 7), 'YYYY_MM') + interval '1 month' <= date :before
ORDER BY 1;

-- name: next_step(before)^
-- Return a month of old events, the next statement to delete them, and whether it is the last one. A month is detached
-- before its table is dropped, so that nobody waits; PostgreSQL detaches one at a time.
SELECT
    replace(right(tables.relname, 7), '_', '-'),
    CASE
        WHEN links.inhrelid IS NULL THEN 'DROP TABLE ' || tables.oid::regclass
        WHEN links.inhdetachpending THEN 'ALTER TABLE ' || links.inhparent::regclass || ' DETACH PARTITION '
            || tables.oid::regclass || ' FINALIZE'
        ELSE 'ALTER TABLE ' || links.inhparent::regclass || ' DETACH PARTITION ' || tables.oid::regclass
            || ' CONCURRENTLY'
    END,
    links.inhrelid IS NULL
FROM pg_class AS tables LEFT JOIN pg_inherits AS links ON links.inhrelid = tables.oid
WHERE tables.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'ringserver_events'::regclass)
    AND tables.relkind = 'r' AND tables.relname ~ '^ringserver_events_[0-9]{4}_[0-9]{2}$'
    AND to_date(right(tables.relname, 7), 'YYYY_MM') + interval '1 month' <= date :before
ORDER BY COALESCE(links.inhdetachpending, false) DESC, tables.relname
LIMIT 1;
