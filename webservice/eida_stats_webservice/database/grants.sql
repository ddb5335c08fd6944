-- The privileges of the service's role in the database. `eida_statsman db grant` replaces the placeholders.

-- Payloads need temporary tables for staging.
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role};
-- The service checks that the schema is up to date.
GRANT SELECT (migration_id) ON _yoyo_migration TO {role};
