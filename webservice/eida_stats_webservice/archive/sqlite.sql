-- Shards, for SQLite.

-- name: lock_shards()!
-- Do nothing: a transaction that writes has the only lock.
SELECT 1;

-- name: delete_rows(code)!
-- Delete all that is known of a shard.
DELETE FROM paths WHERE sh_code = :code;
DELETE FROM metadata WHERE sh_code = :code;
DELETE FROM files WHERE sh_code = :code;
DELETE FROM directories WHERE sh_code = :code;
DELETE FROM links WHERE sh_code = :code;
DELETE FROM spans WHERE sh_code = :code;
DELETE FROM timeline WHERE sh_code = :code;
DELETE FROM digests WHERE sh_code = :code;

-- name: lock_shard(code)^
-- As for shards.
SELECT 1 FROM shards WHERE sh_code = :code;

-- name: add_station(code, network, station, location, channel, first, last, latitude, longitude)*!
INSERT INTO stations (sh_code, network, station, location, channel, first, last, latitude, longitude)
VALUES (:code, :network, :station, :location, :channel, :first, :last, :latitude, :longitude);

-- name: lock_crawls(code)^
-- As for shards.
SELECT 1 FROM shards WHERE sh_code = :code;

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;
