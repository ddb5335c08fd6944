-- The privileges of the service's role on nodes, networks and tokens.

-- The service increments the revision of a node when its statistics change.
GRANT SELECT (id, name, restriction_policy, eas_group, revision, changed_at), UPDATE (revision, changed_at)
    ON nodes TO {role};
GRANT SELECT (id, node_id, network, value, valid_from, valid_until, revoked_at) ON tokens TO {role};
GRANT SELECT ON registry_state TO {role};
GRANT SELECT (node_id, name, inverted_policy, eas_group) ON networks TO {role};
