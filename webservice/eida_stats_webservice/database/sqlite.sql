-- The engine: statements of SQLite's dialect.

-- name: read_state()^
-- The same columns as in PostgreSQL: SQLite has no roles, and sketches are always available.
SELECT 0, 1, 1 FROM (SELECT count(*) FROM _yoyo_migration);

-- name: set_statement_timeout(seconds)^
-- SQLite needs no limit, since readers block no other work.
SELECT :seconds;

-- name: wait_briefly()!
-- SQLite has a single lock. The time limit for it is set when a connection is opened.
SELECT 1;

-- name: wait_without_limit()!
-- SQLite ends no idle transactions.
SELECT 1;
