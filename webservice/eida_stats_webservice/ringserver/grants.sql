-- The privileges of the service's role to add up the statistics of ringservers.

-- A correction deletes sums and computes them again.
GRANT SELECT, INSERT, UPDATE, DELETE ON ringserver_stats, ringserver_by_month, ringserver_by_day, ringserver_by_hour,
    ringserver_clients_by_hour, ringserver_by_place TO {role};

-- Raw logs: records count once, and retracting a day deletes what was stored of it.
GRANT SELECT, INSERT, UPDATE, DELETE ON ringserver_records, ringserver_by_client TO {role};
GRANT SELECT, INSERT, DELETE ON ringserver_events TO {role};
GRANT SELECT ON ringserver_pruned TO {role};
GRANT EXECUTE ON FUNCTION ringserver_create_partition(date), ringserver_set_body(bigint, bytea) TO {role};
