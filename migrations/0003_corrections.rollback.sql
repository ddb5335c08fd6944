-- An older version counts all payloads that are there, so those that do not count must go.
DELETE FROM payloads WHERE withdrawn_at IS NOT NULL;
DROP INDEX payloads_superseded_by;
ALTER TABLE payloads DROP COLUMN superseded_by;
ALTER TABLE payloads DROP COLUMN withdrawn_at;
ALTER TABLE payloads DROP COLUMN origin;
