-- Shards, for PostgreSQL.

-- name: lock_shards()!
-- Let changes of the list of shards wait for each other: each creates the views over all of them again.
LOCK TABLE shards IN SHARE ROW EXCLUSIVE MODE;

-- name: lock_shard(code)^
-- Let changes of a shard wait for each other.
SELECT 1 FROM shards WHERE sh_code = :code FOR NO KEY UPDATE;

-- name: add_station()!
COPY stations (sh_code, network, station, location, channel, first, last, latitude, longitude) FROM STDIN
