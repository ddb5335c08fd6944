-- The engine: statements of PostgreSQL's dialect.

-- name: read_state()^
-- Whether the database can only be read, whether the role may read which migrations there are, and whether hll is in
-- the search_path: without it, no statistics could be read.
SELECT current_setting('transaction_read_only')::boolean,
    has_column_privilege('_yoyo_migration', 'migration_id', 'SELECT'), to_regtype('hll') IS NOT NULL;

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

-- name: wait_briefly()!
-- A command of the administrator that waits for a node must not hold up other work for long; it tries again.
SET LOCAL lock_timeout = '2s';

-- name: be_patient()!
-- An administrator's work may take its time.
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = 0;
