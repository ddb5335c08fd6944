-- Crawls that were received, for both databases.

-- name: find_crawl(code, sha256)
-- Return the crawl with this content, if it was received.
SELECT id, sh_code AS code, sha256, size, started, finished, received, ingested, refused
FROM crawls
WHERE sh_code = :code AND sha256 = :sha256;

-- name: list_starts(code)
-- Return the roots of the crawls of a shard that were received or ingested, with the last time at which one began. The
-- last one that was ingested overlaps with a crawl of the whole shard.
SELECT root, max(started) FROM crawls WHERE sh_code = :code GROUP BY root
UNION ALL
SELECT NULL, crawled_at FROM shards WHERE sh_code = :code AND crawled_at IS NOT NULL;

-- name: add_crawl(code, sha256, size, root, started, finished)
-- Add a crawl that waits, and return it.
INSERT INTO crawls (sh_code, sha256, size, root, started, finished)
VALUES (:code, :sha256, :size, :root, :started, :finished)
RETURNING id, sh_code AS code, sha256, size, started, finished, received, ingested, refused;

-- name: add_piece(crawl_id, piece, content)!
INSERT INTO crawl_pieces (crawl_id, piece, content) VALUES (:crawl_id, :piece, :content);

-- name: list_waiting(code, also_refused)
-- Return the crawls that wait, in the order in which they are to be ingested; all shards, or one.
SELECT id, sh_code AS code, sha256, size, started, finished, received, ingested, refused
FROM crawls
WHERE ingested IS NULL AND (refused IS NULL OR :also_refused) AND (CAST(:code AS text) IS NULL OR sh_code = :code)
    AND EXISTS (SELECT 1 FROM crawl_pieces WHERE crawl_id = crawls.id)
ORDER BY sh_code, started, id;

-- name: read_piece(crawl_id, piece)$
SELECT content FROM crawl_pieces WHERE crawl_id = :crawl_id AND piece = :piece;

-- name: mark_ingested(crawl_id, now)!
UPDATE crawls SET ingested = :now, refused = NULL WHERE id = :crawl_id;

-- name: mark_refused(crawl_id, reason)!
UPDATE crawls SET refused = :reason WHERE id = :crawl_id AND ingested IS NULL;

-- name: delete_pieces(crawl_id)!
-- Delete the file of a crawl.
DELETE FROM crawl_pieces WHERE crawl_id = :crawl_id;

-- name: delete_old_pieces()!
-- Delete the files of crawls that were refused, if a later crawl of all their paths was received.
DELETE FROM crawl_pieces WHERE crawl_id IN (
    SELECT id FROM crawls
    WHERE refused IS NOT NULL AND EXISTS (
        SELECT 1 FROM crawls AS later
        WHERE later.sh_code = crawls.sh_code AND later.started > crawls.started
            AND substr(crawls.root || '/', 1, length(later.root) + 1) = later.root || '/'
    )
);
