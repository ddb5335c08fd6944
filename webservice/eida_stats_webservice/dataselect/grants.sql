-- The privileges of the service's role to store payloads and add up their statistics.

GRANT SELECT,
    INSERT (node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version,
        nb_rows, body, origin, revision),
    UPDATE (withdrawn_at, superseded_by, revision)
    ON payloads TO {role};
GRANT SELECT, INSERT ON payload_days TO {role};
-- A network is added with its first statistics. It has the policy of its node.
GRANT INSERT (node_id, name) ON networks TO {role};
-- A correction deletes the sums of a month and computes them again.
GRANT SELECT, INSERT, UPDATE, DELETE ON dataselect_stats, dataselect_stats_by_network_country,
    dataselect_stats_by_network, dataselect_stats_by_country TO {role};
