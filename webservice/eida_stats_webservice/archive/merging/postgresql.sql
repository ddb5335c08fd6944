-- Merge a crawl into the tables of a shard, for PostgreSQL. Names without a schema are temporary tables and those of
-- the shard.

-- Staging

-- name: configure()!
-- Sorts and joins of a million rows take place in memory.
SET LOCAL work_mem = '128MB';
SET LOCAL maintenance_work_mem = '256MB';
SET LOCAL enable_hashagg = on;
-- Spans are in the order of streams. Merge joins would sort them by hash, and then again.
SET LOCAL enable_mergejoin = off;

-- name: create_staging()!
DROP TABLE IF EXISTS pg_temp.found, pg_temp.unsettled, pg_temp.staged, pg_temp.changes, pg_temp.unreadable,
    pg_temp.replaced_types,
    pg_temp.gone, pg_temp.dropped, pg_temp.touched, pg_temp.touched_posix, pg_temp.touched_mseed,
    pg_temp.deltas, pg_temp.streams, pg_temp.staged_timeline, pg_temp.numbered_timeline, pg_temp.present_timeline;
CREATE TEMPORARY TABLE found (hash uuid, digest bigint, first bigint, last bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE unsettled (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged (
    line bigint, hash uuid, path text, parents uuid[], type text, json jsonb, digest bigint
) ON COMMIT DROP;
CREATE TEMPORARY TABLE changes (LIKE staged) ON COMMIT DROP;
CREATE TEMPORARY TABLE unreadable (hash uuid, path text) ON COMMIT DROP;
CREATE TEMPORARY TABLE replaced_types (type text) ON COMMIT DROP;
CREATE TEMPORARY TABLE gone (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE dropped (hash uuid, type text) ON COMMIT DROP;
CREATE TEMPORARY TABLE touched (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE touched_posix (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE touched_mseed (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE deltas (hash uuid, count numeric, size numeric) ON COMMIT DROP;
CREATE TEMPORARY TABLE streams (network text, station text, location text, channel text) ON COMMIT DROP;
CREATE TEMPORARY TABLE staged_timeline (LIKE timeline) ON COMMIT DROP;
CREATE TEMPORARY TABLE numbered_timeline (LIKE timeline, number bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE present_timeline (LIKE timeline, number bigint, place tid) ON COMMIT DROP;

-- name: stage_path()!
COPY found (hash, digest, first, last) FROM STDIN

-- name: find_unsettled(types)!
-- Of a complete crawl: the paths with other lines than in the last one, or in several places of the file. Lines also
-- have to be checked if the crawl has other types, since it then removes other metadata.
INSERT INTO unsettled
SELECT hash
FROM found LEFT JOIN digests ON dg_hash = hash AND dg_digest = digest AND dg_types = :types
GROUP BY hash
HAVING count(dg_hash) = 0 OR count(*) > 1;
ANALYZE unsettled;

-- name: list_ranges()
-- Return the numbers of the lines of these paths.
SELECT first, last FROM found JOIN unsettled USING (hash) ORDER BY first;

-- name: stage_line()!
COPY staged (line, hash, path, parents, type, json, digest) FROM STDIN

-- name: analyse_staged()!
ANALYZE staged (line, hash, type);

-- name: delete_repeated()!
-- Of lines with the same path and type, the last one wins.
DELETE FROM staged
USING (SELECT hash, type, max(line) AS last FROM staged GROUP BY hash, type HAVING count(*) > 1) AS repeated
WHERE staged.hash = repeated.hash AND staged.type = repeated.type AND staged.line < repeated.last;

-- name: delete_removed()!
-- Lines before the one that removes their path, or a directory above it, have no effect.
DELETE FROM staged WHERE line IN (
    SELECT before.line
    FROM staged AS before CROSS JOIN unnest(before.parents || before.hash) AS within
    JOIN staged AS removed ON removed.hash = within
    WHERE removed.type = 'removed' AND before.type <> 'removed' AND before.line < removed.line
);

-- Decisions

-- name: has_paths()$
SELECT EXISTS (SELECT FROM paths);

-- name: find_crawls()
-- Return the paths of all crawls that were ingested, with the times at which they began.
SELECT pa_path, md_json->>'started' FROM metadata JOIN paths ON pa_hash = md_hash WHERE md_type = 'crawl';

-- name: find_gone(root)!
-- Of a complete crawl: what it does not have below its root, except below directories that could not be read.
INSERT INTO gone
SELECT pa_hash FROM paths
WHERE pa_parents @> ARRAY[:root]::uuid[]
    AND NOT EXISTS (SELECT FROM found WHERE hash = pa_hash)
    AND NOT pa_parents && (SELECT coalesce(array_agg(hash), '{}') FROM unreadable);

-- name: find_removed()!
-- Of a partial crawl: removed paths, and what was below a directory that is none any more.
INSERT INTO gone
SELECT pa_hash
FROM (
    SELECT hash AS pa_hash FROM staged JOIN paths ON pa_hash = hash WHERE type = 'removed'
    UNION
    SELECT below.pa_hash
    FROM staged JOIN paths AS below ON below.pa_parents @> ARRAY[hash]
    WHERE type = 'removed'
        OR (type = 'posix' AND json->>'type' <> 'directory' AND EXISTS (
            SELECT FROM paths AS before WHERE before.pa_hash = hash AND before.pa_type = 'directory'
        ))
) AS found
WHERE NOT EXISTS (SELECT FROM staged WHERE hash = pa_hash AND type <> 'removed');

-- name: count_changes()
-- Return the number of lines that change something, and those of paths that are new and that have changed.
SELECT
    (SELECT count(*) FROM changes), coalesce(sum(CASE WHEN pa_hash IS NULL THEN 1 ELSE 0 END), 0), count(pa_hash)
FROM (SELECT DISTINCT hash FROM changes WHERE type <> 'crawl') AS found LEFT JOIN paths ON pa_hash = hash;

-- name: count_below(root)$
SELECT count(*) FROM paths WHERE pa_hash = :root::uuid OR pa_parents @> ARRAY[:root]::uuid[];

-- name: find_replaced()!
-- Of a complete crawl: metadata of types that it has, of paths that have them no longer. A line that was refused
-- keeps what there was.
INSERT INTO dropped
SELECT md_hash, md_type FROM metadata
WHERE md_type IN (SELECT type FROM replaced_types)
    AND EXISTS (SELECT FROM staged WHERE hash = md_hash)
    AND NOT EXISTS (SELECT FROM staged WHERE hash = md_hash AND (type = md_type OR type IS NULL));

-- name: find_no_files()!
-- The content of files that have become something else.
INSERT INTO dropped
SELECT md_hash, md_type FROM metadata JOIN staged ON staged.hash = md_hash
WHERE md_type = 'mseed' AND type = 'posix' AND json->>'type' <> 'file'
    AND NOT EXISTS (SELECT FROM staged AS other WHERE other.hash = md_hash AND other.type = 'mseed')
    AND NOT EXISTS (SELECT FROM dropped WHERE hash = md_hash AND dropped.type = md_type);

-- name: find_changes()!
-- Find the lines that change something. A difference of the time of access is none, since reading a file changes it.
INSERT INTO changes
SELECT staged.*
FROM staged LEFT JOIN metadata ON md_hash = hash AND md_type = type
WHERE type <> 'removed' AND (
    md_hash IS NULL OR (json <> md_json AND (type <> 'posix' OR json - 'atime' <> md_json - 'atime'))
);
ANALYZE changes (line, hash, type);

-- name: find_touched()!
INSERT INTO touched_posix SELECT hash FROM changes WHERE type = 'posix' UNION SELECT hash FROM gone;
INSERT INTO touched_mseed
SELECT hash FROM changes WHERE type = 'mseed' UNION SELECT hash FROM gone
UNION SELECT hash FROM dropped WHERE type = 'mseed';
INSERT INTO touched SELECT hash FROM touched_posix UNION SELECT hash FROM touched_mseed;
ANALYZE touched_posix, touched_mseed, touched, gone;

-- Load

-- name: load_tables(types)!
-- Fill empty tables. Their indexes are created later.
DELETE FROM staged WHERE type IS NULL;
INSERT INTO digests
SELECT hash, min(digest), :types FROM staged GROUP BY hash HAVING min(digest) = max(digest) AND min(digest) <> 0;
INSERT INTO metadata (md_hash, md_type, md_json) SELECT hash, type, json FROM staged;
INSERT INTO paths (pa_hash, pa_type, pa_path, pa_parents)
SELECT DISTINCT ON (hash) hash, CASE type WHEN 'posix' THEN (json->>'type')::path_type END, path, parents
FROM staged
WHERE path IS NOT NULL
ORDER BY hash, type = 'posix' DESC;
INSERT INTO files SELECT * FROM derived_files;
INSERT INTO links SELECT * FROM derived_links;
INSERT INTO directories (
    di_hash, di_parent, di_name, di_ctime, di_mtime, di_atime, di_mode, di_inode, di_uid, di_gid, di_user, di_group,
    di_count, di_size
)
SELECT derived.*, coalesce(sums.count, 0), coalesce(sums.size, 0)
FROM derived_directories AS derived LEFT JOIN derived_sums AS sums ON hash = di_hash;
INSERT INTO spans
SELECT * FROM derived_spans
ORDER BY sp_network COLLATE "C", sp_station COLLATE "C", sp_location COLLATE "C", sp_channel COLLATE "C", sp_start;

-- Merge

-- name: add_files(sign)!
-- Add the files that change to the sums of all directories above, or subtract them.
INSERT INTO deltas
SELECT unnest(pa_parents), :sign * count, :sign * size
FROM (
    SELECT pa_parents, count(*) AS count, sum(coalesce(fi_size, 0)) AS size
    FROM touched_posix JOIN files ON fi_hash = hash JOIN paths ON pa_hash = hash
    GROUP BY pa_parents
) AS directories;

-- name: keep_sums()!
-- The sums of directories whose rows are written again; of new ones, the files below that were there before.
INSERT INTO deltas
SELECT di_hash, di_count, di_size FROM touched_posix JOIN directories ON di_hash = hash;

-- name: sum_below_new()!
INSERT INTO deltas
SELECT new.hash, below.count, below.size
FROM (
    SELECT hash FROM changes
    WHERE type = 'posix' AND json->>'type' = 'directory' AND NOT EXISTS (SELECT FROM directories WHERE di_hash = hash)
) AS new, LATERAL (
    SELECT count(*) AS count, sum(coalesce(fi_size, 0)) AS size
    FROM paths JOIN files ON fi_hash = pa_hash WHERE pa_parents @> ARRAY[new.hash]
) AS below
WHERE below.count > 0;

-- name: find_streams()!
-- Streams with segments in files that change; once for the state before, once for that after.
INSERT INTO streams
SELECT sp_network, sp_station, sp_location, sp_channel FROM touched JOIN spans ON sp_hash = hash
EXCEPT SELECT * FROM streams;

-- name: find_period()
-- Return the first and the last time of the segments in files that change.
SELECT min(sp_start), max(sp_end) FROM touched JOIN spans ON sp_hash = hash;

-- name: merge_metadata()!
DELETE FROM metadata USING gone WHERE md_hash = hash;
DELETE FROM metadata USING dropped WHERE md_hash = hash AND md_type = type;
UPDATE metadata SET md_json = json, md_ingested = now()
FROM changes
WHERE md_hash = hash AND md_type = type;
INSERT INTO metadata (md_hash, md_type, md_json)
SELECT hash, type, json FROM changes
WHERE NOT EXISTS (SELECT FROM metadata WHERE md_hash = hash AND md_type = type)
ORDER BY hash;

-- name: merge_paths()!
DELETE FROM paths USING gone WHERE pa_hash = hash;
UPDATE paths SET pa_type = (json->>'type')::path_type, pa_ingested = now()
FROM changes
WHERE type = 'posix' AND pa_hash = hash AND pa_type IS DISTINCT FROM (json->>'type')::path_type;
INSERT INTO paths (pa_hash, pa_type, pa_path, pa_parents)
SELECT DISTINCT ON (hash) hash, CASE type WHEN 'posix' THEN (json->>'type')::path_type END, path, parents
FROM changes
WHERE path IS NOT NULL AND NOT EXISTS (SELECT FROM paths WHERE pa_hash = hash)
ORDER BY hash, type = 'posix' DESC;

-- name: merge_files()!
DELETE FROM files WHERE fi_hash IN (SELECT hash FROM touched_posix);
INSERT INTO files SELECT * FROM derived_files WHERE fi_hash IN (SELECT hash FROM touched_posix);

-- name: merge_links()!
DELETE FROM links WHERE li_hash IN (SELECT hash FROM touched_posix);
INSERT INTO links SELECT * FROM derived_links WHERE li_hash IN (SELECT hash FROM touched_posix);

-- name: merge_directories()!
DELETE FROM directories WHERE di_hash IN (SELECT hash FROM touched_posix);
INSERT INTO directories (
    di_hash, di_parent, di_name, di_ctime, di_mtime, di_atime, di_mode, di_inode, di_uid, di_gid, di_user, di_group,
    di_count, di_size
)
SELECT derived.*, coalesce(sums.count, 0), coalesce(sums.size, 0)
FROM derived_directories AS derived
LEFT JOIN (SELECT hash, sum(count) AS count, sum(size) AS size FROM deltas GROUP BY hash) AS sums ON hash = di_hash
WHERE di_hash IN (SELECT hash FROM touched_posix);

-- name: merge_spans()!
DELETE FROM spans USING touched_mseed WHERE sp_hash = hash;
INSERT INTO spans
SELECT * FROM derived_spans WHERE sp_hash IN (SELECT hash FROM touched_mseed)
ORDER BY sp_network COLLATE "C", sp_station COLLATE "C", sp_location COLLATE "C", sp_channel COLLATE "C", sp_start;

-- name: update_sums()!
UPDATE directories SET di_count = di_count + sums.count, di_size = di_size + sums.size
FROM (SELECT hash, sum(count) AS count, sum(size) AS size FROM deltas GROUP BY hash) AS sums
WHERE di_hash = hash AND (sums.count <> 0 OR sums.size <> 0)
    AND NOT EXISTS (SELECT FROM touched_posix WHERE touched_posix.hash = di_hash);

-- name: empty_pending_list()!
-- Searches below a directory read all rows that are pending, and the planner prefers to read all paths.
-- A rebuild creates the index later. Only its owner may do this.
SELECT gin_clean_pending_list(oid) FROM pg_class
WHERE oid = to_regclass('pai_parents') AND pg_has_role(relowner, 'USAGE');

-- name: merge_digests(types)!
-- If the lines of a path that were stored have no common digest, it is in several places of the file.
DELETE FROM digests WHERE dg_hash IN (SELECT hash FROM staged UNION ALL SELECT hash FROM gone);
INSERT INTO digests
SELECT hash, min(digest), :types FROM staged GROUP BY hash HAVING min(digest) = max(digest) AND min(digest) <> 0;

-- Timeline

-- name: list_segments()
-- Return the segments of all streams that changed, with times in microseconds since 1970.
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate,
    (extract(epoch FROM sp_start) * 1000000)::bigint, (extract(epoch FROM sp_end) * 1000000)::bigint,
    (extract(epoch FROM fi_mtime) * 1000000)::bigint
FROM streams
JOIN spans ON sp_network = network AND sp_station = station AND sp_location = location AND sp_channel = channel
LEFT JOIN files ON fi_hash = sp_hash
ORDER BY
    sp_network COLLATE "C", sp_station COLLATE "C", sp_location COLLATE "C", sp_channel COLLATE "C",
    sp_quality COLLATE "C", sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_stored_segments()
-- Return the segments of all streams, likewise.
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate,
    (extract(epoch FROM sp_start) * 1000000)::bigint, (extract(epoch FROM sp_end) * 1000000)::bigint,
    (extract(epoch FROM fi_mtime) * 1000000)::bigint
FROM spans LEFT JOIN files ON fi_hash = sp_hash
ORDER BY
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_all_segments()
-- Return the segments that follow from the metadata of all streams, likewise.
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate,
    (extract(epoch FROM sp_start) * 1000000)::bigint, (extract(epoch FROM sp_end) * 1000000)::bigint,
    (extract(epoch FROM fi_mtime) * 1000000)::bigint
FROM derived_spans LEFT JOIN derived_files ON fi_hash = sp_hash
ORDER BY
    sp_network COLLATE "C", sp_station COLLATE "C", sp_location COLLATE "C", sp_channel COLLATE "C",
    sp_quality COLLATE "C", sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_timeline()
SELECT
    tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate,
    (extract(epoch FROM tl_start) * 1000000)::bigint, (extract(epoch FROM tl_end) * 1000000)::bigint,
    (extract(epoch FROM tl_updated) * 1000000)::bigint, tl_spans
FROM timeline
ORDER BY
    tl_network COLLATE "C", tl_station COLLATE "C", tl_location COLLATE "C", tl_channel COLLATE "C",
    tl_quality COLLATE "C", tl_rate;

-- name: list_paths()
-- Return all paths, with the type that their metadata of type posix have.
SELECT pa_hash::text, pa_path, pa_parents::text[], pa_type::text, md_json->>'type'
FROM paths LEFT JOIN metadata ON md_hash = pa_hash AND md_type = 'posix';

-- name: list_orphans()
-- Return metadata without a path.
SELECT md_hash::text, md_type FROM metadata WHERE NOT EXISTS (SELECT FROM paths WHERE pa_hash = md_hash);

-- name: load_timeline()!
COPY timeline FROM STDIN

-- name: stage_timeline()!
COPY staged_timeline FROM STDIN

-- name: merge_timeline()!
-- Spans that stay as they were are not written again. There may be several equal ones, so they are numbered.
INSERT INTO numbered_timeline
SELECT
    staged_timeline.*, row_number() OVER (
        PARTITION BY tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
            tl_updated, tl_spans
    )
FROM staged_timeline;
INSERT INTO present_timeline
SELECT
    timeline.*, row_number() OVER (
        PARTITION BY tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
            tl_updated, tl_spans
    ),
    timeline.ctid
FROM streams JOIN timeline
    ON tl_network = network AND tl_station = station AND tl_location = location AND tl_channel = channel;
ANALYZE numbered_timeline, present_timeline;
DELETE FROM timeline WHERE ctid IN (
    SELECT place FROM present_timeline AS present WHERE NOT EXISTS (
        SELECT FROM numbered_timeline AS new
        WHERE new.tl_network = present.tl_network AND new.tl_station = present.tl_station
            AND new.tl_location = present.tl_location AND new.tl_channel = present.tl_channel
            AND new.tl_quality = present.tl_quality AND new.tl_rate = present.tl_rate
            AND new.tl_start = present.tl_start AND new.tl_end = present.tl_end
            AND new.tl_updated IS NOT DISTINCT FROM present.tl_updated AND new.tl_spans = present.tl_spans
            AND new.number = present.number
    )
);
INSERT INTO timeline
SELECT
    tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_updated, tl_spans
FROM numbered_timeline AS new
WHERE NOT EXISTS (
    SELECT FROM present_timeline AS present
    WHERE new.tl_network = present.tl_network AND new.tl_station = present.tl_station
        AND new.tl_location = present.tl_location AND new.tl_channel = present.tl_channel
        AND new.tl_quality = present.tl_quality AND new.tl_rate = present.tl_rate
        AND new.tl_start = present.tl_start AND new.tl_end = present.tl_end
        AND new.tl_updated IS NOT DISTINCT FROM present.tl_updated AND new.tl_spans = present.tl_spans
        AND new.number = present.number
);
