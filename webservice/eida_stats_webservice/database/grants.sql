-- The rights of the service's role in a database. `eida_statsman db grant` fills in the names.

-- TEMPORARY is for the staging tables of payloads.
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};
-- The service checks that the schema is up to date.
GRANT SELECT (migration_id) ON _yoyo_migration TO {role};
