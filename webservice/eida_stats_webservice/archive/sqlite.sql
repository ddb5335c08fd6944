-- Shards, for SQLite.

-- name: lock_shards()!
-- Do nothing: a transaction that writes has the only lock.
SELECT 1;

-- name: lock_shard(code)^
-- As for shards.
SELECT 1 FROM shards WHERE sh_code = :code;

-- name: add_station(code, network, station, location, channel, first, last, latitude, longitude)*!
INSERT INTO stations (sh_code, network, station, location, channel, first, last, latitude, longitude)
VALUES (:code, :network, :station, :location, :channel, :first, :last, :latitude, :longitude);
