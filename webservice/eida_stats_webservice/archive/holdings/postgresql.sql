-- Holdings, for PostgreSQL.

-- name: create_refreshed()!
CREATE TEMPORARY TABLE IF NOT EXISTS refreshed_streams (
    id integer PRIMARY KEY, network text, station text, location text, channel text
) ON COMMIT DROP;

-- name: load_refreshed()!
COPY refreshed_streams FROM STDIN;

-- name: analyze_refreshed()!
ANALYZE refreshed_streams;

-- name: prefer_hashing(hash)$
-- Let sums of many streams be computed without sorting them.
SELECT set_config('enable_hashagg', :hash, true);

-- name: read_segments(code, start, end)
-- Return the segments of the streams to refresh that are in some years, each with its file. Hard links have the same
-- device and inode.
SELECT refreshed.id, CAST(extract(epoch FROM sp_start) * 1000000 AS bigint),
    CAST(extract(epoch FROM sp_end) * 1000000 AS bigint), sp_rate, sp_bytes, sp_hash,
    (md_json ->> 'dev') || ':' || (md_json ->> 'inode')
FROM refreshed_streams AS refreshed
JOIN spans ON sp_network = network AND sp_station = station AND sp_location = location AND sp_channel = channel
LEFT JOIN metadata ON metadata.sh_code = :code AND md_hash = sp_hash AND md_type = 'posix'
WHERE spans.sh_code = :code AND sp_start <= :end AND sp_end >= :start
ORDER BY refreshed.id, sp_start;

-- name: load_holdings()!
COPY holdings (
    sh_code, node_id, network, station, location, channel, year, bytes, files, seconds, first, last
) FROM STDIN;

-- name: find_foreign_code()$
-- Return the code of the shard on its own server, where it is the name of the schema.
SELECT option_value FROM pg_foreign_table, pg_options_to_table(ftoptions)
WHERE ftrelid = to_regclass('paths') AND option_name = 'schema_name';

-- name: copy_holdings(code, node_id, foreign_code)!
-- Copy the holdings that another server has computed.
INSERT INTO holdings (
    sh_code, node_id, network, station, location, channel, year, bytes, files, seconds, first, last
)
SELECT :code, :node_id, network, station, location, channel, year, bytes, files, seconds, first, last
FROM foreign_holdings WHERE sh_code = :foreign_code;

-- name: copy_crawled_at(code, foreign_code)!
UPDATE shards SET crawled_at = (SELECT crawled_at FROM foreign_shards WHERE sh_code = :foreign_code)
WHERE sh_code = :code;

-- name: lock_history(node_id)^
-- Let changes of the snapshot of a node wait for each other. Callers lock nothing else that others wait for after it,
-- but the registry's revision.
SELECT pg_advisory_xact_lock(hashtext('holdings'), :node_id);

-- name: has_rights()$
-- Return whether the role has the privileges of the service on holdings.
SELECT has_table_privilege('shards', 'SELECT') AND has_table_privilege('holdings', 'SELECT')
    AND has_table_privilege('holdings_history', 'SELECT');
