-- What is below a path, for SQLite: a range of the index of paths, and itself. The character after / is 0. CROSS JOIN
-- keeps the order of the tables.

-- name: list_spans(code, path, channels, start, stop, all_stations, stations)
-- Return the segments that overlap a time, file by file.
SELECT pa_path, sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, sp_bytes
FROM paths CROSS JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_path = :path OR (pa_path > :path || '/' AND pa_path < :path || '0'))
    AND regexp_like(sp_channel, :channels) AND sp_end >= :start AND sp_start <= :stop
    AND (:all_stations OR sp_station IN (SELECT value FROM json_each(:stations)))
ORDER BY pa_path, sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start;

-- name: list_stamps(code, path, channels, start, stop)
-- Return the starts and ends of segments, each once.
SELECT sp_start AS stamp
FROM paths CROSS JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_path = :path OR (pa_path > :path || '/' AND pa_path < :path || '0'))
    AND regexp_like(sp_channel, :channels) AND sp_start BETWEEN :start AND :stop
UNION
SELECT sp_end AS stamp
FROM paths CROSS JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_path = :path OR (pa_path > :path || '/' AND pa_path < :path || '0'))
    AND regexp_like(sp_channel, :channels) AND sp_end BETWEEN :start AND :stop
ORDER BY stamp;

-- name: list_streams(code, path, channels)
-- Return the streams, with the times of their first and last sample.
SELECT sp_network, sp_station, sp_location, sp_channel, min(sp_start), max(sp_end)
FROM paths CROSS JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_path = :path OR (pa_path > :path || '/' AND pa_path < :path || '0')) AND regexp_like(sp_channel, :channels)
GROUP BY 1, 2, 3, 4;

-- name: list_layers(code, path)
-- Return the metadata of GDAL, file by file.
SELECT pa_path, md_json
FROM paths CROSS JOIN metadata ON md_hash = pa_hash AND md_type = 'gdal'
WHERE paths.sh_code = :code AND metadata.sh_code = :code
    AND (pa_path = :path OR (pa_path > :path || '/' AND pa_path < :path || '0'))
ORDER BY pa_path;
