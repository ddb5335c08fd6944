-- Statistics. sql.py composes the SQL of queries.

-- name: data_version()^
-- Return two revisions and the times of the last changes. Each change of statistics, nodes or networks increments one
-- of the revisions. An older version of the service may change nodes without incrementing a revision; only the times
-- show these changes.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;
