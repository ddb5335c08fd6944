-- The networks of a shard, for both databases. The statements that select spans are in the file of each dialect.

-- name: list_networks(code)
-- Return the networks of a shard. Each is found by the index, without reading its spans.
WITH RECURSIVE found (network) AS (
    SELECT (SELECT min(tl_network) FROM timeline WHERE sh_code = :code)
    UNION ALL
    SELECT (SELECT min(tl_network) FROM timeline WHERE sh_code = :code AND tl_network > network)
    FROM found
    WHERE network IS NOT NULL
)
SELECT network FROM found WHERE network IS NOT NULL;

-- name: list_held_networks(code)
-- Return the networks of a shard on another server, as they were when its holdings were copied.
SELECT DISTINCT network FROM holdings WHERE sh_code = :code;

-- name: list_foreign_networks(code)
-- Return the networks of a shard on another server, in one request to it.
SELECT tl_network FROM timeline WHERE sh_code = :code GROUP BY tl_network;
