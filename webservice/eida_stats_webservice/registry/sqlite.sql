-- Nodes, networks and tokens: statements of SQLite's dialect.

-- name: lock_node(node_id)$
-- The transaction holds the database's only write lock already.
SELECT revision FROM nodes WHERE id = :node_id;

-- name: bump_revision(node_id)!
-- Note that the statistics of a node have changed. The time only increases.
UPDATE nodes SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds') FROM registry_state)
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Note that nodes, networks or their policies have changed. There may be no node.
UPDATE registry_state SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    COALESCE((SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes), ''),
    strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds')
);

-- name: has_rights()$
-- Whoever can open the file may do everything.
SELECT 1;
