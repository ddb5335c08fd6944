-- Groups have the names that tokens are compared with, without /epos/: a database that was taken over had it.
-- depends: 0004_sources-and-periods

UPDATE nodes SET eas_group = substr(eas_group, 7) WHERE eas_group LIKE '/epos/%';
UPDATE networks SET eas_group = substr(eas_group, 7) WHERE eas_group LIKE '/epos/%';
