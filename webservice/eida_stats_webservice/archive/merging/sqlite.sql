-- Merge a crawl into the tables of a shard, for SQLite. Statements are those of PostgreSQL; what is below a path is a
-- range of the index on pa_path, since '0' follows '/'.

-- Staging

-- name: configure()!
SELECT 1;

-- name: create_staging()!
DROP TABLE IF EXISTS temp.found;
CREATE TEMPORARY TABLE found (hash text, digest integer, first integer PRIMARY KEY, last integer);
DROP TABLE IF EXISTS temp.unsettled;
CREATE TEMPORARY TABLE unsettled (hash text PRIMARY KEY) WITHOUT ROWID;
DROP TABLE IF EXISTS temp.staged;
CREATE TEMPORARY TABLE staged (
    line integer PRIMARY KEY, hash text, path text, parents text, type text, json text, digest integer
);
DROP TABLE IF EXISTS temp.changes;
CREATE TEMPORARY TABLE changes (
    line integer PRIMARY KEY, hash text, path text, parents text, type text, json text, digest integer
);
DROP TABLE IF EXISTS temp.unreadable;
CREATE TEMPORARY TABLE unreadable (hash text, path text);
DROP TABLE IF EXISTS temp.replaced_types;
CREATE TEMPORARY TABLE replaced_types (type text);
DROP TABLE IF EXISTS temp.gone;
CREATE TEMPORARY TABLE gone (hash text PRIMARY KEY);
DROP TABLE IF EXISTS temp.dropped;
CREATE TEMPORARY TABLE dropped (hash text, type text, PRIMARY KEY (hash, type));
DROP TABLE IF EXISTS temp.touched;
CREATE TEMPORARY TABLE touched (hash text PRIMARY KEY);
DROP TABLE IF EXISTS temp.touched_posix;
CREATE TEMPORARY TABLE touched_posix (hash text PRIMARY KEY);
DROP TABLE IF EXISTS temp.touched_mseed;
CREATE TEMPORARY TABLE touched_mseed (hash text PRIMARY KEY);
DROP TABLE IF EXISTS temp.deltas;
CREATE TEMPORARY TABLE deltas (hash text, count integer, size integer);
DROP TABLE IF EXISTS temp.streams;
CREATE TEMPORARY TABLE streams (network text, station text, location text, channel text);
DROP TABLE IF EXISTS temp.staged_timeline;
CREATE TEMPORARY TABLE staged_timeline AS SELECT * FROM timeline WHERE false;
DROP TABLE IF EXISTS temp.numbered_timeline;
CREATE TEMPORARY TABLE numbered_timeline AS SELECT *, 0 AS number FROM timeline WHERE false;
DROP TABLE IF EXISTS temp.present_timeline;
CREATE TEMPORARY TABLE present_timeline AS SELECT *, 0 AS number, 0 AS place FROM timeline WHERE false;

-- name: stage_path(hash, digest, first, last)*!
INSERT INTO found (hash, digest, first, last) VALUES (:hash, :digest, :first, :last);

-- name: find_unsettled(code, types)!
CREATE INDEX temp.found_hash ON found (hash, digest);
INSERT INTO unsettled
SELECT hash
FROM found LEFT JOIN digests ON sh_code = :code AND dg_hash = hash AND dg_digest = digest AND dg_types = :types
GROUP BY hash
HAVING count(dg_hash) = 0 OR count(*) > 1;

-- name: list_ranges()
SELECT first, last FROM found JOIN unsettled USING (hash) ORDER BY first;

-- name: stage_line(number, hash, path, parents, md_type, json, digest)*!
INSERT INTO staged (line, hash, path, parents, type, json, digest)
VALUES (:number, :hash, :path, :parents, :md_type, :json, :digest);

-- name: analyse_staged()!
CREATE INDEX temp.staged_hash ON staged (hash, type);

-- name: delete_repeated()!
-- Of lines with the same path and type, the last one wins.
DELETE FROM staged WHERE EXISTS (
    SELECT 1 FROM staged AS later
    WHERE later.hash = staged.hash AND later.type = staged.type AND later.line > staged.line
);

-- name: delete_removed()!
DELETE FROM staged WHERE type <> 'removed' AND EXISTS (
    SELECT 1 FROM json_each(json_insert(staged.parents, '$[#]', staged.hash)) AS within
    JOIN staged AS removed ON removed.hash = within.value AND removed.type = 'removed' AND removed.line > staged.line
);

-- Decisions

-- name: has_paths(code)$
SELECT EXISTS (SELECT 1 FROM paths WHERE sh_code = :code);

-- name: find_crawls(code)
SELECT pa_path, md_json ->> '$.started'
FROM metadata JOIN paths ON paths.sh_code = metadata.sh_code AND pa_hash = md_hash
WHERE metadata.sh_code = :code AND md_type = 'crawl';

-- name: find_gone(code, root_path)!
INSERT INTO gone
SELECT pa_hash FROM paths
WHERE sh_code = :code AND pa_path > :root_path || '/' AND pa_path < :root_path || '0'
    AND NOT EXISTS (SELECT 1 FROM found WHERE hash = pa_hash)
    AND NOT EXISTS (
        SELECT 1 FROM unreadable WHERE pa_path > unreadable.path || '/' AND pa_path < unreadable.path || '0'
    );

-- name: find_removed(code)!
INSERT INTO gone
SELECT pa_hash
FROM (
    SELECT pa_hash FROM staged JOIN paths ON sh_code = :code AND pa_hash = hash WHERE type = 'removed'
    UNION
    SELECT below.pa_hash
    FROM staged JOIN paths AS below
        ON below.sh_code = :code AND below.pa_path > staged.path || '/' AND below.pa_path < staged.path || '0'
    WHERE type = 'removed'
        OR (type = 'posix' AND json ->> '$.type' <> 'directory' AND EXISTS (
            SELECT 1 FROM paths AS before
            WHERE before.sh_code = :code AND before.pa_hash = hash AND before.pa_type = 'directory'
        ))
) AS found
WHERE NOT EXISTS (SELECT 1 FROM staged WHERE hash = pa_hash AND type <> 'removed');

-- name: count_changes(code)
-- Return the number of lines that change something, and those of paths that are new and that have changed.
SELECT
    (SELECT count(*) FROM changes), coalesce(sum(CASE WHEN pa_hash IS NULL THEN 1 ELSE 0 END), 0), count(pa_hash)
FROM (SELECT DISTINCT hash FROM changes WHERE type <> 'crawl') AS found LEFT JOIN paths ON pa_hash = hash AND sh_code = :code;

-- name: count_below(code, root_path)$
SELECT count(*) FROM paths
WHERE sh_code = :code AND (pa_path = :root_path OR (pa_path > :root_path || '/' AND pa_path < :root_path || '0'));

-- name: find_replaced(code)!
INSERT INTO dropped
SELECT md_hash, md_type FROM metadata
WHERE sh_code = :code AND md_type IN (SELECT type FROM replaced_types)
    AND EXISTS (SELECT 1 FROM staged WHERE hash = md_hash)
    AND NOT EXISTS (SELECT 1 FROM staged WHERE hash = md_hash AND (type = md_type OR type IS NULL));

-- name: find_no_files(code)!
INSERT INTO dropped
SELECT md_hash, md_type FROM staged JOIN metadata ON sh_code = :code AND md_hash = hash AND md_type = 'mseed'
WHERE type = 'posix' AND json ->> '$.type' <> 'file'
    AND NOT EXISTS (SELECT 1 FROM staged AS other WHERE other.hash = md_hash AND other.type = 'mseed')
    AND NOT EXISTS (SELECT 1 FROM dropped WHERE dropped.hash = md_hash AND dropped.type = md_type);

-- name: find_changes(code)!
INSERT INTO changes
SELECT staged.*
FROM staged LEFT JOIN metadata ON sh_code = :code AND md_hash = hash AND md_type = type
WHERE type <> 'removed' AND CASE
    WHEN md_hash IS NULL THEN true
    WHEN json = md_json THEN false
    WHEN type = 'posix' THEN json_remove(json, '$.atime') <> json_remove(md_json, '$.atime')
    ELSE true
END;
CREATE INDEX temp.changes_hash ON changes (hash, type);

-- name: find_touched()!
INSERT INTO touched_posix SELECT hash FROM changes WHERE type = 'posix' UNION SELECT hash FROM gone;
INSERT INTO touched_mseed
SELECT hash FROM changes WHERE type = 'mseed' UNION SELECT hash FROM gone
UNION SELECT hash FROM dropped WHERE type = 'mseed';
INSERT INTO touched SELECT hash FROM touched_posix UNION SELECT hash FROM touched_mseed;

-- Load

-- name: load_tables(code, types)!
-- Fill empty tables.
DELETE FROM staged WHERE type IS NULL;
INSERT INTO digests (sh_code, dg_hash, dg_digest, dg_types)
SELECT :code, hash, min(digest), :types FROM staged
GROUP BY hash HAVING min(digest) = max(digest) AND min(digest) <> 0;
INSERT INTO metadata (sh_code, md_hash, md_type, md_json) SELECT :code, hash, type, json FROM staged ORDER BY hash, type;
INSERT INTO paths (sh_code, pa_hash, pa_type, pa_path, pa_parents)
SELECT :code, hash, CASE type WHEN 'posix' THEN json ->> '$.type' END, path, parents
FROM (
    SELECT *, row_number() OVER (PARTITION BY hash ORDER BY type = 'posix' DESC) AS number FROM staged
    WHERE path IS NOT NULL
) AS named
WHERE number = 1
ORDER BY hash;
INSERT INTO files SELECT * FROM derived_files WHERE sh_code = :code;
INSERT INTO links SELECT * FROM derived_links WHERE sh_code = :code;
INSERT INTO directories (
    di_hash, di_parent, di_name, di_ctime, di_mtime, di_atime, di_mode, di_inode, di_uid, di_gid, di_user, di_group,
    sh_code, di_count, di_size
)
SELECT derived.*, coalesce(sums.count, 0), coalesce(sums.size, 0)
FROM derived_directories AS derived
LEFT JOIN derived_sums AS sums ON sums.hash = di_hash AND sums.sh_code = :code
WHERE derived.sh_code = :code;
INSERT INTO spans
SELECT * FROM derived_spans WHERE sh_code = :code
ORDER BY sp_network, sp_station, sp_location, sp_channel, sp_start;

-- Merge

-- name: add_files(code, sign)!
INSERT INTO deltas
SELECT parent.value, :sign * count(*), :sign * sum(coalesce(fi_size, 0))
FROM touched_posix
JOIN files ON files.sh_code = :code AND fi_hash = hash
JOIN paths ON paths.sh_code = :code AND pa_hash = hash,
json_each(pa_parents) AS parent
GROUP BY 1;

-- name: keep_sums(code)!
INSERT INTO deltas
SELECT di_hash, di_count, di_size FROM touched_posix JOIN directories ON sh_code = :code AND di_hash = hash;

-- name: sum_below_new(code)!
INSERT INTO deltas
SELECT new.hash, count(*), sum(coalesce(fi_size, 0))
FROM (
    SELECT hash, path FROM changes
    WHERE type = 'posix' AND json ->> '$.type' = 'directory'
        AND NOT EXISTS (SELECT 1 FROM directories WHERE sh_code = :code AND di_hash = hash)
) AS new
JOIN paths ON paths.sh_code = :code AND pa_path > new.path || '/' AND pa_path < new.path || '0'
JOIN files ON files.sh_code = :code AND fi_hash = pa_hash
GROUP BY new.hash;

-- name: find_streams(code)!
-- Streams with segments in files that change; once for the state before, once for that after.
INSERT INTO streams
SELECT sp_network, sp_station, sp_location, sp_channel FROM touched JOIN spans ON sp_hash = hash AND sh_code = :code
EXCEPT SELECT * FROM streams;

-- name: find_period(code)
-- Return the first and the last time of the segments in files that change.
SELECT min(sp_start), max(sp_end) FROM touched JOIN spans ON sp_hash = hash AND sh_code = :code;

-- name: merge_metadata(code)!
DELETE FROM metadata WHERE sh_code = :code AND md_hash IN (SELECT hash FROM gone);
DELETE FROM metadata WHERE sh_code = :code AND (md_hash, md_type) IN (SELECT hash, type FROM dropped);
UPDATE metadata SET md_json = json, md_ingested = strftime('%Y-%m-%dT%H:%M:%f000', 'now')
FROM changes
WHERE sh_code = :code AND md_hash = hash AND md_type = type;
INSERT INTO metadata (sh_code, md_hash, md_type, md_json)
SELECT :code, hash, type, json FROM changes
WHERE NOT EXISTS (SELECT 1 FROM metadata WHERE sh_code = :code AND md_hash = hash AND md_type = type)
ORDER BY hash, type;

-- name: merge_paths(code)!
DELETE FROM paths WHERE sh_code = :code AND pa_hash IN (SELECT hash FROM gone);
UPDATE paths SET pa_type = json ->> '$.type', pa_ingested = strftime('%Y-%m-%dT%H:%M:%f000', 'now')
FROM changes
WHERE sh_code = :code AND type = 'posix' AND pa_hash = hash AND pa_type IS NOT json ->> '$.type';
INSERT INTO paths (sh_code, pa_hash, pa_type, pa_path, pa_parents)
SELECT :code, hash, CASE type WHEN 'posix' THEN json ->> '$.type' END, path, parents
FROM (
    SELECT *, row_number() OVER (PARTITION BY hash ORDER BY type = 'posix' DESC) AS number FROM changes
    WHERE path IS NOT NULL
) AS named
WHERE number = 1 AND NOT EXISTS (SELECT 1 FROM paths WHERE sh_code = :code AND pa_hash = hash)
ORDER BY hash;

-- name: merge_files(code)!
DELETE FROM files WHERE fi_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;
INSERT INTO files SELECT * FROM derived_files WHERE fi_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;

-- name: merge_links(code)!
DELETE FROM links WHERE li_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;
INSERT INTO links SELECT * FROM derived_links WHERE li_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;

-- name: merge_directories(code)!
DELETE FROM directories WHERE di_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;
INSERT INTO directories (
    di_hash, di_parent, di_name, di_ctime, di_mtime, di_atime, di_mode, di_inode, di_uid, di_gid, di_user, di_group,
    sh_code, di_count, di_size
)
SELECT derived.*, coalesce(sums.count, 0), coalesce(sums.size, 0)
FROM derived_directories AS derived
LEFT JOIN (SELECT hash, sum(count) AS count, sum(size) AS size FROM deltas GROUP BY hash) AS sums ON hash = di_hash
WHERE di_hash IN (SELECT hash FROM touched_posix) AND sh_code = :code;

-- name: merge_spans(code)!
DELETE FROM spans WHERE sh_code = :code AND sp_hash IN (SELECT hash FROM touched_mseed);
INSERT INTO spans
SELECT * FROM derived_spans WHERE sp_hash IN (SELECT hash FROM touched_mseed) AND sh_code = :code
ORDER BY sp_network, sp_station, sp_location, sp_channel, sp_start;

-- name: update_sums(code)!
UPDATE directories SET di_count = di_count + sums.count, di_size = di_size + sums.size
FROM (SELECT hash, sum(count) AS count, sum(size) AS size FROM deltas GROUP BY hash) AS sums
WHERE sh_code = :code AND di_hash = hash AND (sums.count <> 0 OR sums.size <> 0)
    AND NOT EXISTS (SELECT 1 FROM touched_posix WHERE touched_posix.hash = di_hash);

-- name: merge_digests(code, types)!
DELETE FROM digests WHERE sh_code = :code AND dg_hash IN (SELECT hash FROM staged UNION ALL SELECT hash FROM gone);
INSERT INTO digests (sh_code, dg_hash, dg_digest, dg_types)
SELECT :code, hash, min(digest), :types FROM staged
GROUP BY hash HAVING min(digest) = max(digest) AND min(digest) <> 0;

-- name: empty_pending_list()!
-- Do nothing: indexes of SQLite have no such list.
SELECT 1;

-- Timeline

-- name: list_segments(code)
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime
FROM streams
JOIN spans ON spans.sh_code = :code
    AND sp_network = network AND sp_station = station AND sp_location = location AND sp_channel = channel
LEFT JOIN files ON files.sh_code = :code AND fi_hash = sp_hash
ORDER BY sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_stored_segments(code)
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime
FROM spans LEFT JOIN files ON files.sh_code = :code AND fi_hash = sp_hash
WHERE spans.sh_code = :code
ORDER BY sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_all_segments(code)
SELECT
    sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime
FROM derived_spans AS spans LEFT JOIN derived_files AS files ON files.sh_code = :code AND fi_hash = sp_hash
WHERE spans.sh_code = :code
ORDER BY sp_network, sp_station, sp_location, sp_channel, sp_quality, sp_rate, sp_start, sp_end, fi_mtime;

-- name: list_timeline(code)
SELECT
    tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_updated, tl_spans
FROM timeline WHERE sh_code = :code
ORDER BY tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate;

-- name: list_paths(code)
SELECT pa_hash, pa_path, pa_parents, pa_type, md_json ->> '$.type'
FROM paths LEFT JOIN metadata ON metadata.sh_code = :code AND md_hash = pa_hash AND md_type = 'posix'
WHERE paths.sh_code = :code;

-- name: list_orphans(code)
SELECT md_hash, md_type FROM metadata
WHERE sh_code = :code AND NOT EXISTS (SELECT 1 FROM paths WHERE paths.sh_code = :code AND pa_hash = md_hash);

-- name: load_timeline(network, station, location, channel, quality, rate, start, end, updated, spans, code)*!
INSERT INTO timeline VALUES (
    :network, :station, :location, :channel, :quality, :rate, :start, :end, :updated, :spans, :code
);

-- name: stage_timeline(network, station, location, channel, quality, rate, start, end, updated, spans, code)*!
INSERT INTO staged_timeline VALUES (
    :network, :station, :location, :channel, :quality, :rate, :start, :end, :updated, :spans, :code
);

-- name: merge_timeline(code)!
INSERT INTO numbered_timeline
SELECT
    *, row_number() OVER (
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
    timeline.rowid
FROM streams JOIN timeline ON sh_code = :code
    AND tl_network = network AND tl_station = station AND tl_location = location AND tl_channel = channel;
DELETE FROM timeline WHERE rowid IN (
    SELECT place FROM present_timeline WHERE (
        tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
        coalesce(tl_updated, ''), tl_spans, number
    ) NOT IN (
        SELECT
            tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
            coalesce(tl_updated, ''), tl_spans, number
        FROM numbered_timeline
    )
);
INSERT INTO timeline
SELECT
    tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_updated, tl_spans,
    sh_code
FROM numbered_timeline
WHERE (
    tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
    coalesce(tl_updated, ''), tl_spans, number
) NOT IN (
    SELECT
        tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end,
        coalesce(tl_updated, ''), tl_spans, number
    FROM present_timeline
);
