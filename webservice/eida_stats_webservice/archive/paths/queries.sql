-- What is below a path, for both databases. Each reads one shard.

-- name: list_directories(code, hash)
-- Return the names of the directories directly below a path.
SELECT di_name
FROM directories
WHERE sh_code = :code AND di_parent = :hash
ORDER BY di_name COLLATE "C";

-- name: has_content(code, hash)$
-- Return whether a file directly below a path has segments or layers.
SELECT EXISTS (
    SELECT 1 FROM files JOIN spans ON sp_hash = fi_hash AND spans.sh_code = :code
    WHERE files.sh_code = :code AND fi_parent = :hash
) OR EXISTS (
    SELECT 1 FROM files JOIN metadata ON md_hash = fi_hash AND md_type = 'gdal' AND metadata.sh_code = :code
    WHERE files.sh_code = :code AND fi_parent = :hash
);

-- name: list_places(code, south, north, west, east)
-- Return where the channels of a box are, by epoch.
SELECT network, station, location, channel, first, last, longitude, latitude
FROM stations
WHERE sh_code = :code AND latitude BETWEEN :south AND :north AND longitude BETWEEN :west AND :east
ORDER BY network, station, location, channel, first;
