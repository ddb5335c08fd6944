-- The engine: statements for PostgreSQL and SQLite.

-- name: applied_migrations()
-- Return the migrations that yoyo has applied.
SELECT migration_id FROM _yoyo_migration;
