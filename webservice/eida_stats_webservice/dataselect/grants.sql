-- The privileges of the service's role to add up the statistics of dataselect.

-- A network is added with its first statistics. It has the policy of its node.
GRANT INSERT (node_id, name) ON networks TO {role};
-- A correction deletes the sums of a month and computes them again.
GRANT SELECT, INSERT, UPDATE, DELETE ON dataselect_stats, dataselect_stats_by_network_country,
    dataselect_stats_by_network, dataselect_stats_by_country, dataselect_stats_by_station TO {role};
