-- The privileges of the service's role to add up the statistics of ringservers.

-- A correction deletes sums and computes them again.
GRANT SELECT, INSERT, UPDATE, DELETE ON ringserver_stats, ringserver_by_day, ringserver_by_hour, ringserver_by_place
    TO {role};
