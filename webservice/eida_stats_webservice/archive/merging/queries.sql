-- Merge a crawl into the tables of a shard: statements for both databases.

-- name: count_settled()$
-- Return the number of paths with the same lines as in the last crawl.
SELECT (SELECT count(*) FROM found) - (SELECT count(*) FROM found JOIN unsettled USING (hash));

-- name: count_staged()$
-- Return the number of paths with lines that were checked.
SELECT count(*) FROM (SELECT DISTINCT hash FROM staged) AS found;

-- name: count_loaded()
-- Return the number of lines that can be stored, and that of their paths.
SELECT count(type), count(DISTINCT CASE WHEN type <> 'crawl' THEN hash END) FROM staged;

-- name: count_gone()$
SELECT count(*) FROM gone;

-- name: count_dropped()$
-- Return the number of metadata that go although their paths stay.
SELECT count(*) FROM dropped;

-- name: add_unreadable(hash, path)*!
INSERT INTO unreadable (hash, path) VALUES (:hash, :path);

-- name: add_replaced(type)*!
INSERT INTO replaced_types (type) VALUES (:type);

-- name: list_streams()
SELECT network, station, location, channel FROM streams;

-- name: list_located()
-- Return the hashes of paths that may have other polygons than before.
SELECT CAST(hash AS text) FROM changes WHERE type IN ('mseed', 'gdal')
UNION SELECT CAST(hash AS text) FROM gone
UNION SELECT CAST(hash AS text) FROM dropped;
