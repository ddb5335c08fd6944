-- Stations, for both databases.

-- name: delete_stations(code)!
DELETE FROM stations WHERE sh_code = :code;

-- name: list_epochs(code)
-- Return all epochs of a shard.
SELECT network, station, location, channel, first, last, latitude, longitude
FROM stations
WHERE sh_code = :code
ORDER BY network, station, location, channel, first;
