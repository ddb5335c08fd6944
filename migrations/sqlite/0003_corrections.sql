-- Payloads that are replaced or retracted stay, but do not count.
-- depends: 0002_access-and-changes

-- PostgreSQL checks them, too; adding a column with a check, SQLite would give out an empty result, and yoyo print it.
ALTER TABLE payloads ADD COLUMN origin text NOT NULL DEFAULT 'submission';
ALTER TABLE payloads ADD COLUMN withdrawn_at text;
ALTER TABLE payloads ADD COLUMN superseded_by integer REFERENCES payloads (id) ON DELETE SET NULL;
-- A payload is deleted with its node; without this, each one would be looked for among all.
CREATE INDEX payloads_superseded_by ON payloads (superseded_by) WHERE superseded_by IS NOT NULL;
