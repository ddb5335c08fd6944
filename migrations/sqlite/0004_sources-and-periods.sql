-- A payload stands for the logs of one source of one period.
-- depends: 0003_corrections

-- PostgreSQL checks them, too; adding a column with a check, SQLite would give out an empty result, and yoyo print it.
ALTER TABLE payloads ADD COLUMN source text NOT NULL DEFAULT '';
ALTER TABLE payloads ADD COLUMN period_start text;
ALTER TABLE payloads ADD COLUMN period_end text;
ALTER TABLE payloads ADD COLUMN content text NOT NULL DEFAULT '';
ALTER TABLE payloads ADD COLUMN revision integer NOT NULL DEFAULT 0;
-- Payloads without a period keep their hash, which is that of their content.
UPDATE payloads SET content = hash;
-- Each new payload is compared with those that are in force near its days, and with those of equal content.
CREATE INDEX payloads_in_force ON payloads (node_id, ends_at) WHERE withdrawn_at IS NULL;
CREATE INDEX payloads_content ON payloads (node_id, content) WHERE withdrawn_at IS NULL;
