-- Queries for PostgreSQL only.

-- name: ping()^
-- Whether the database answers and has its schema, whether it can only be read, whether the role may read which
-- migrations there are, and whether it has the rights that the service needs.
SELECT count(*), current_setting('transaction_read_only')::boolean,
    has_column_privilege('_yoyo_migration', 'migration_id', 'SELECT'),
    has_column_privilege('payloads', 'body', 'INSERT') AND has_column_privilege('nodes', 'revision', 'UPDATE')
        AND has_table_privilege('payload_days', 'INSERT')
        AND has_table_privilege('dataselect_stats', 'INSERT') AND has_table_privilege('dataselect_stats', 'UPDATE')
        AND has_table_privilege('dataselect_stats', 'SELECT')
        AND has_table_privilege('dataselect_stats_by_network_country', 'SELECT')
        AND has_table_privilege('dataselect_stats_by_network', 'SELECT')
        AND has_table_privilege('dataselect_stats_by_country', 'SELECT')
        -- An older schema lacks this table, which is reported as a missing migration.
        AND COALESCE(has_table_privilege(to_regclass('registry_state'), 'SELECT'), true)
        -- Without its schema in the search_path, no question could be answered.
        AND to_regtype('hll') IS NOT NULL
FROM nodes WHERE id < 0;

-- name: end_after(seconds)^
-- Each statement of this transaction is ended after so many seconds.
SELECT set_config('statement_timeout', :seconds || 's', true);

-- name: create_filler()!
-- A table on the disk of the statistics, wherever other temporary tables are, for data that do not compress.
SET LOCAL temp_tablespaces = '';
CREATE TEMPORARY TABLE filler (data bytea) ON COMMIT DROP;

-- name: fill()!
-- About 1 MiB, half of it row headers.
INSERT INTO filler SELECT sha256(int4send(n)) FROM generate_series(1, 16384) AS n;

-- name: prepare_to_write()^
-- Wait for locks: a payload is worth it. A commit that was acknowledged survives a crash of the server.
SELECT current_setting('transaction_read_only')::boolean AS read_only, pg_is_in_recovery() AS standby,
    set_config('lock_timeout', '60s', true),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END;

-- name: lock_node(node_id)$
-- Rows of different nodes never meet, so with this lock first, nothing can deadlock.
SELECT revision FROM nodes WHERE id = :node_id FOR NO KEY UPDATE;

-- name: bump_revision(node_id)!
-- Note that the statistics of a node have changed. The time is read after all locks were taken, and only increases.
UPDATE nodes SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    (SELECT changed_at FROM registry_state) + interval '1 microsecond'
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Note that nodes, networks or their policies have changed. A node is locked before this row.
UPDATE registry_state SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    changed_at + interval '1 microsecond'
);

-- name: create_incoming()!
-- The rows that come in.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    date date, network text, station text, location text, channel text, country text,
    bytes bigint, nb_reqs bigint, nb_successful_reqs bigint, nb_failedrequests bigint, clients hll(11, 5)
) ON COMMIT DROP;

-- name: create_rolled()!
-- The same, summed up over the streams of each network.
CREATE TEMPORARY TABLE IF NOT EXISTS rolled (
    date date, network text, country text,
    bytes bigint, nb_reqs bigint, nb_successful_reqs bigint, nb_failedrequests bigint, clients hll(11, 5)
) ON COMMIT DROP;

-- name: empty_incoming()!
-- Several payloads may be merged by one transaction, one after the other.
TRUNCATE incoming;

-- name: empty_rolled()!
TRUNCATE rolled;

-- name: restart_numbers()^
-- Numbers go on after those that were given.
SELECT setval(pg_get_serial_sequence('nodes', 'id'), COALESCE((SELECT max(id) FROM nodes), 0) + 1, false),
    setval(pg_get_serial_sequence('tokens', 'id'), COALESCE((SELECT max(id) FROM tokens), 0) + 1, false),
    setval(pg_get_serial_sequence('payloads', 'id'), COALESCE((SELECT max(id) FROM payloads), 0) + 1, false);

-- name: wait_briefly()!
-- A command of the administrator that waits for a node must not hold up other work for long; it tries again.
SET LOCAL lock_timeout = '2s';

-- name: be_patient()!
-- An administrator's work may take its time.
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = 0;
