-- Nodes, networks and tokens: statements for SQLite.

-- name: lock_node(node_id)$
-- Only read the revision: the transaction already holds the only write lock of the database.
SELECT revision FROM nodes WHERE id = :node_id;

-- name: bump_revision(node_id)!
-- Record a change of a node's statistics. changed_at only increases.
UPDATE nodes SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds') FROM registry_state)
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Record a change of nodes, networks or policies. There may be no node.
UPDATE registry_state SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    COALESCE((SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes), ''),
    strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds')
);

-- name: has_rights()$
-- Return true, because SQLite has no roles. The statement reads nodes, so that a missing table causes an error.
SELECT count(*) = 0 FROM nodes WHERE id < 0;
