-- Nodes, networks and tokens: statements of PostgreSQL's dialect.

-- name: lock_node(node_id)$
-- Rows of different nodes never meet, so with this lock first, nothing can deadlock.
SELECT revision FROM nodes WHERE id = :node_id FOR NO KEY UPDATE;

-- name: bump_revision(node_id)!
-- Note that the statistics of a node have changed. The time is read after all locks were taken, and only increases.
UPDATE nodes SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    (SELECT changed_at FROM registry_state) + interval '1 microsecond'
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Note that nodes, networks or their policies have changed. A node is locked before this row.
UPDATE registry_state SET revision = revision + 1, changed_at = GREATEST(
    clock_timestamp(),
    (SELECT max(changed_at) FROM nodes) + interval '1 microsecond',
    changed_at + interval '1 microsecond'
);

-- name: has_rights()$
-- Whether the role may do what the service needs. An older schema lacks registry_state, which is a missing migration.
SELECT has_column_privilege('nodes', 'revision', 'UPDATE')
    AND COALESCE(has_table_privilege(to_regclass('registry_state'), 'SELECT'), true);
