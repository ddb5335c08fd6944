-- Nodes, networks and tokens: statements for PostgreSQL.

-- name: lock_node(node_id)$
-- Lock a node. Rows of different nodes are independent, so taking this lock first prevents deadlocks.
SELECT revision FROM nodes WHERE id = :node_id FOR NO KEY UPDATE;

-- name: bump_revision(node_id)!
-- Record a change of a node's statistics. clock_timestamp() is the time after all locks. changed_at only increases.
UPDATE nodes SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    (SELECT changed_at FROM registry_state) + interval '1 microsecond'
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Record a change of nodes, networks or policies. Callers lock the node before this row.
UPDATE registry_state SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    changed_at + interval '1 microsecond'
);

-- name: has_rights()$
-- Return whether the role has the privileges of the service. The statement reads nodes, so that a lock on this table
-- causes an error. An older schema lacks registry_state; this is reported as a missing migration.
SELECT count(*) = 0 AND has_column_privilege('nodes', 'revision', 'UPDATE')
    AND COALESCE(has_table_privilege(to_regclass('registry_state'), 'SELECT'), true)
FROM nodes WHERE id < 0;
