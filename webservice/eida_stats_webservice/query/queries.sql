-- Statistics. sql.py composes the SQL of queries.

-- name: data_version()^
-- Return two revisions and the times of the last changes. Each change of statistics, nodes or networks increments one
-- of the revisions. An older version of the service may change nodes without incrementing a revision; only the times
-- show these changes.
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM nodes), changed_at, (SELECT max(changed_at) FROM nodes)
FROM registry_state;

-- name: version_before(day)^
-- Return the revisions and times of the last changes of nodes and networks, and of the payloads that begin before a day.
-- A change of a payload sets its revision to the next one of its node, so each change increases the sum.
WITH payloads_before AS (
    SELECT max(revision) AS revision, max(created_at) AS created_at, max(withdrawn_at) AS withdrawn_at
    FROM payloads WHERE starts_at < :day GROUP BY node_id
)
SELECT revision, (SELECT COALESCE(sum(revision), 0) FROM payloads_before),
    changed_at, (SELECT max(created_at) FROM payloads_before), (SELECT max(withdrawn_at) FROM payloads_before)
FROM registry_state;
