-- Statistics. The SQL of queries is composed in sql.py.

-- name: data_version()^
-- Two revisions, one of which increases with each change of statistics, nodes or networks, and the times of the last
-- changes. Changes of nodes by an older version of the service show in the times only.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;
