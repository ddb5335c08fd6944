-- Shards, for both databases.

-- name: list_shards()
-- Return all shards, by code.
SELECT sh_code AS code, sh_path AS path, nodes.name AS node, node_id, open_paths, generation, crawled_at,
    refreshed_at, foreign_server
FROM shards JOIN nodes ON nodes.id = shards.node_id
ORDER BY sh_code;

-- name: add_shard(code, path, node_id, open_paths)!
INSERT INTO shards (sh_code, sh_path, node_id, open_paths) VALUES (:code, :path, :node_id, :open_paths);

-- name: remove_shard(code)!
DELETE FROM shards WHERE sh_code = :code;

-- name: bump_generation(code)!
-- Record a change of a shard.
UPDATE shards SET generation = generation + 1 WHERE sh_code = :code;

-- name: forget_crawls(code)!
-- Before a rebuild: the holdings have to be computed again.
UPDATE shards SET crawled_at = NULL, refreshed_at = NULL WHERE sh_code = :code;

-- name: set_crawled_at(code, crawled_at)!
-- Record the start of a complete crawl. Those of parts of an archive may be ingested in any order.
UPDATE shards SET crawled_at = :crawled_at
WHERE sh_code = :code AND (crawled_at IS NULL OR crawled_at < :crawled_at);
