-- The privileges of the service's role in the catalogue. The views have the rows of all shards, in which the role has no
-- privilege.

-- FDSN availability.
GRANT SELECT ON shards TO {role};
GRANT SELECT ON timeline TO {role};

-- Holdings.
GRANT SELECT ON holdings, holdings_history TO {role};
