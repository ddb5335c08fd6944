-- What is below a path, for PostgreSQL: the paths that have its hash among their parents, and itself.

-- name: list_spans(code, hash, channels, start, stop, all_stations, stations)
-- Return the segments that overlap a time, file by file.
SELECT pa_path, sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, sp_bytes
FROM paths JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_parents @> ARRAY[CAST(:hash AS uuid)] OR pa_hash = CAST(:hash AS uuid))
    AND regexp_like(sp_channel, :channels) AND sp_end >= :start AND sp_start <= :stop
    AND (:all_stations OR sp_station IN :stations)
ORDER BY pa_path COLLATE "C", sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start;

-- name: list_stamps(code, hash, channels, start, stop)
-- Return the starts and ends of segments, each once.
SELECT DISTINCT stamp
FROM paths JOIN spans ON sp_hash = pa_hash CROSS JOIN LATERAL (VALUES (sp_start), (sp_end)) AS ends (stamp)
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_parents @> ARRAY[CAST(:hash AS uuid)] OR pa_hash = CAST(:hash AS uuid))
    AND regexp_like(sp_channel, :channels) AND stamp BETWEEN :start AND :stop
ORDER BY stamp;

-- name: list_streams(code, hash, channels)
-- Return the streams, with the times of their first and last sample.
SELECT sp_network, sp_station, sp_location, sp_channel, min(sp_start), max(sp_end)
FROM paths JOIN spans ON sp_hash = pa_hash
WHERE paths.sh_code = :code AND spans.sh_code = :code
    AND (pa_parents @> ARRAY[CAST(:hash AS uuid)] OR pa_hash = CAST(:hash AS uuid)) AND regexp_like(sp_channel, :channels)
GROUP BY 1, 2, 3, 4;

-- name: list_layers(code, hash)
-- Return the metadata of GDAL, file by file.
SELECT pa_path, CAST(md_json AS text)
FROM paths JOIN metadata ON md_hash = pa_hash AND md_type = 'gdal'
WHERE paths.sh_code = :code AND metadata.sh_code = :code
    AND (pa_parents @> ARRAY[CAST(:hash AS uuid)] OR pa_hash = CAST(:hash AS uuid))
ORDER BY pa_path COLLATE "C";
