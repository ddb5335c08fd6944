-- Shards, for SQLite.

-- name: lock_shards()!
-- Do nothing: a transaction that writes has the only lock.
SELECT 1;

-- name: lock_shard(code)^
-- As for shards.
SELECT 1 FROM shards WHERE sh_code = :code;

-- name: lock_crawls(code)^
-- As for shards.
SELECT 1 FROM shards WHERE sh_code = :code;

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;
