-- A payload is of one kind: statistics of dataselect, or of a ringserver. Rules on periods hold within a kind.
-- depends: 0006_registry-state

-- PostgreSQL checks it, too; adding a column with a check, SQLite would give out an empty result, and yoyo print it.
ALTER TABLE payloads ADD COLUMN kind text NOT NULL DEFAULT 'dataselect';
