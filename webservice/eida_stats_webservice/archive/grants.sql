-- The privileges of the service's role to read the catalogue of archives.

-- Holdings
GRANT SELECT ON shards, holdings, holdings_history TO {role};
