-- Payloads that are replaced or retracted stay, but do not count.
-- depends: 0002_access-and-changes

ALTER TABLE payloads ADD COLUMN origin text NOT NULL DEFAULT 'submission' CHECK (origin IN ('submission', 'import'));
ALTER TABLE payloads ADD COLUMN withdrawn_at timestamptz;
ALTER TABLE payloads ADD COLUMN superseded_by bigint REFERENCES payloads (id) ON DELETE SET NULL;
ALTER TABLE payloads ADD CONSTRAINT payloads_superseded_are_withdrawn
    CHECK (superseded_by IS NULL OR withdrawn_at IS NOT NULL);
COMMENT ON COLUMN payloads.withdrawn_at IS 'when it was replaced or retracted; a payload is in force if it was not';
COMMENT ON COLUMN payloads.superseded_by IS 'the payload that replaces it, if it was not retracted';
-- A payload is deleted with its node; without this, each one would be looked for among all.
CREATE INDEX payloads_superseded_by ON payloads (superseded_by) WHERE superseded_by IS NOT NULL;
