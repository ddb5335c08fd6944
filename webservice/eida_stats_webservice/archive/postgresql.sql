-- Shards, for PostgreSQL.

-- name: lock_shards()!
-- Let changes of the list of shards wait for each other: each creates the views over all of them again.
LOCK TABLE shards IN SHARE ROW EXCLUSIVE MODE;

-- name: lock_shard(code)^
-- Let changes of a shard wait for each other.
SELECT 1 FROM shards WHERE sh_code = :code FOR NO KEY UPDATE;

-- name: add_station()!
COPY stations (sh_code, network, station, location, channel, first, last, latitude, longitude) FROM STDIN;

-- name: lock_crawls(code)^
-- Let crawls of a shard that are received at the same time wait for each other. The row of the shard is locked while a
-- crawl is ingested, which takes long.
SELECT pg_advisory_xact_lock(hashtextextended('crawls of ' || :code, 0));

-- name: has_rights()$
-- Return whether the role has the privileges of the service. An older schema lacks the tables; this is reported as a
-- missing migration.
SELECT bool_and(COALESCE(has_table_privilege(to_regclass(name), privilege), true))
FROM (VALUES
    ('shards', 'SELECT'), ('crawls', 'SELECT'), ('crawls', 'INSERT'), ('crawl_pieces', 'INSERT'), ('paths', 'SELECT')
) AS needed (name, privilege);

-- name: probe_shard(code)$
SELECT 1 FROM timeline WHERE sh_code = :code LIMIT 1;
