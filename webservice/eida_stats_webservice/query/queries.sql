-- Statistics. sql.py composes the SQL of queries.

-- name: data_version()^
-- Return two revisions and the times of the last changes. Each change of statistics, nodes or networks increments one
-- of the revisions. An older version of the service may change nodes without incrementing a revision; only the times
-- show these changes.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;

-- name: version_before(day)^
-- Return the revisions and times of the last changes of nodes and networks, and of the payloads that begin before a day.
-- A change of a payload sets its revision to the next one of its node. So while the nodes stay the same, each change
-- increases the sum; a change of the nodes has a revision of the registry. The ids of the payloads that changed last
-- distinguish a database from its restored backup, which may count to the same sums again.
WITH latest AS (
    SELECT id AS node_id, (SELECT max(revision) FROM payloads WHERE node_id = nodes.id AND starts_at < :day) AS revision
    FROM nodes
), changed AS (
    SELECT id, created_at, withdrawn_at FROM payloads JOIN latest USING (node_id, revision)
)
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM latest), (SELECT COALESCE(sum(id), 0) FROM changed),
    changed_at, (SELECT max(created_at) FROM changed), (SELECT max(withdrawn_at) FROM changed)
FROM registry_state;
