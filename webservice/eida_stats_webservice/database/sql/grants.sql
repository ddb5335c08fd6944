-- All that the role of the service may do in a PostgreSQL database: `eida_statsman db grant` fills in its name.

-- TEMPORARY is for the table into which a payload is copied.
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};

-- The service notes that the statistics of a node have changed.
GRANT SELECT (id, name, restriction_policy, eas_group, revision, changed_at), UPDATE (revision, changed_at)
    ON nodes TO {role};
GRANT SELECT (id, node_id, network, value, valid_from, valid_until, revoked_at) ON tokens TO {role};
GRANT SELECT,
    INSERT (node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version,
        nb_rows, body, origin, revision),
    UPDATE (withdrawn_at, superseded_by, revision)
    ON payloads TO {role};
GRANT SELECT, INSERT ON payload_days TO {role};
GRANT SELECT ON registry_state TO {role};
-- Networks appear by themselves, but with the policy of their node.
GRANT SELECT (node_id, name, inverted_policy, eas_group), INSERT (node_id, name) ON networks TO {role};
-- A correction deletes the sums of a month and builds them again.
GRANT SELECT, INSERT, UPDATE, DELETE ON dataselect_stats, dataselect_stats_by_network_country,
    dataselect_stats_by_network, dataselect_stats_by_country TO {role};
-- It is healthy if the schema is up to date.
GRANT SELECT (migration_id) ON _yoyo_migration TO {role};
