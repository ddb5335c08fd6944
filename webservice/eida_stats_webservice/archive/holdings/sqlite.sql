-- Holdings, for SQLite.

-- name: create_refreshed()!
CREATE TEMPORARY TABLE IF NOT EXISTS refreshed_streams (
    id integer PRIMARY KEY, network text, station text, location text, channel text
);

-- name: load_refreshed(id, network, station, location, channel)*!
INSERT INTO temp.refreshed_streams VALUES (:id, :network, :station, :location, :channel);

-- name: analyze_refreshed()!
ANALYZE temp.refreshed_streams;

-- name: prefer_hashing(hash)$
-- Do nothing: SQLite sorts.
SELECT :hash;

-- name: read_segments(code, start, end)
-- Return the segments of the streams to refresh that are in some years, each with its file. Hard links have the same
-- device and inode.
SELECT refreshed.id,
    CAST(strftime('%s', substr(sp_start, 1, 19)) AS integer) * 1000000 + CAST(substr(sp_start, 21, 6) AS integer),
    CAST(strftime('%s', substr(sp_end, 1, 19)) AS integer) * 1000000 + CAST(substr(sp_end, 21, 6) AS integer),
    sp_rate, sp_bytes, sp_hash,
    json_extract(md_json, '$.dev') || ':' || json_extract(md_json, '$.inode')
FROM temp.refreshed_streams AS refreshed
JOIN spans ON sp_network = network AND sp_station = station AND sp_location = location AND sp_channel = channel
LEFT JOIN metadata ON metadata.sh_code = :code AND md_hash = sp_hash AND md_type = 'posix'
WHERE spans.sh_code = :code AND sp_start <= :end AND sp_end >= :start
ORDER BY refreshed.id, sp_start;

-- name: load_holdings(code, node_id, network, station, location, channel, year, bytes, files, seconds, first, last)*!
INSERT INTO holdings (
    sh_code, node_id, network, station, location, channel, year, bytes, files, seconds, first, last
) VALUES (
    :code, :node_id, :network, :station, :location, :channel, :year, :bytes, :files, :seconds, :first, :last
);

-- name: lock_history(node_id)^
-- Do nothing: the transaction holds the only lock.
SELECT :node_id;

-- name: has_rights()$
-- Return true. SQLite has no roles.
SELECT 1;
