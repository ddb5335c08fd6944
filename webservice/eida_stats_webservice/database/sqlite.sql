-- The engine: statements of SQLite's dialect.

-- name: read_state()^
-- Whether the database can only be read, whether its migrations can be read, and whether sketches can.
SELECT 0, 1, 1 FROM (SELECT count(*) FROM _yoyo_migration);

-- name: end_after(seconds)^
-- Readers hold up nobody here, so nothing is ended.
SELECT :seconds;

-- name: wait_briefly()!
-- SQLite has one lock; how long a connection waits for it is set when it is opened.
SELECT 1;

-- name: be_patient()!
-- SQLite ends no transaction by itself.
SELECT 1;
