-- The engine: statements for PostgreSQL.

-- name: read_state()^
-- Return whether the database is read-only, whether the role may read the list of migrations, and whether the
-- search_path includes hll, which all statistics need.
SELECT current_setting('transaction_read_only')::boolean,
    has_column_privilege('_yoyo_migration', 'migration_id', 'SELECT'), to_regtype('hll') IS NOT NULL;

-- name: set_statement_timeout(seconds)^
-- Limit the run time of each statement of this transaction.
SELECT set_config('statement_timeout', :seconds || 's', true);

-- name: create_filler()!
-- Create a table in the tablespace of the statistics, even if other temporary tables are in another one.
SET LOCAL temp_tablespaces = '';
CREATE TEMPORARY TABLE filler (data bytea) ON COMMIT DROP;

-- name: fill()!
-- Write about 1 MiB, half of it row headers. Hashes do not compress.
INSERT INTO filler SELECT sha256(int4send(n)) FROM generate_series(1, 16384) AS n;

-- name: prepare_to_write()^
-- Wait up to a minute for locks, and make commits survive a crash of the server.
SELECT current_setting('transaction_read_only')::boolean AS read_only, pg_is_in_recovery() AS standby,
    set_config('lock_timeout', '60s', true),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END;

-- name: wait_for_locks(seconds)^
-- Limit how long each statement of this transaction waits for locks.
SELECT set_config('lock_timeout', :seconds || 's', true);

-- name: wait_briefly()!
-- Wait only briefly for locks. Other statements queue behind a waiting command of the administrator; it tries again.
SET LOCAL lock_timeout = '2s';

-- name: wait_without_limit()!
-- Remove the time limits of this transaction, for long-running commands of the administrator.
SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL lock_timeout = 0;
