-- The engine: statements for SQLite.

-- name: read_state()^
-- Return the same columns as in PostgreSQL. SQLite has no roles, and sketches are always available.
SELECT 0, 1, 1 FROM (SELECT count(*) FROM _yoyo_migration);

-- name: set_statement_timeout(seconds)^
-- Do nothing: in SQLite, readers do not block other statements.
SELECT :seconds;

-- name: wait_briefly()!
-- Do nothing: SQLite has a single lock, whose time limit is set when a connection is opened.
SELECT 1;

-- name: wait_without_limit()!
-- Do nothing: SQLite does not end idle transactions.
SELECT 1;
