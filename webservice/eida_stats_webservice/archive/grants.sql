-- The privileges of the service's role in the catalogue. Crawls are only added; all else is the owner's. The views have
-- the rows of all shards, in which the role has no privilege.
GRANT SELECT ON shards, stations TO {role};
GRANT SELECT ON paths, metadata, files, directories, spans TO {role};
GRANT SELECT, INSERT ON crawls TO {role};
GRANT INSERT ON crawl_pieces TO {role};
