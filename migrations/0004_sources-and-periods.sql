-- A payload stands for the logs of one source of one period.
-- depends: 0003_corrections

ALTER TABLE payloads ADD COLUMN source text NOT NULL DEFAULT '' CHECK (length(source) <= 64);
ALTER TABLE payloads ADD COLUMN period_start date;
ALTER TABLE payloads ADD COLUMN period_end date;
ALTER TABLE payloads ADD COLUMN content text;
ALTER TABLE payloads ADD COLUMN revision bigint NOT NULL DEFAULT 0;
-- Payloads without a period keep their hash, which is that of their content.
UPDATE payloads SET content = hash;
ALTER TABLE payloads ALTER COLUMN content SET NOT NULL;
ALTER TABLE payloads ADD CONSTRAINT payloads_content_is_hash CHECK (length(content) = 32);
ALTER TABLE payloads ADD CONSTRAINT payloads_period_is_whole
    CHECK ((period_start IS NULL) = (period_end IS NULL) AND period_start <= period_end);
ALTER TABLE payloads ADD CONSTRAINT payloads_source_has_period CHECK (source = '' OR period_start IS NOT NULL);
COMMENT ON COLUMN payloads.hash IS 'of the content and, if there is a period, of the source and the period';
COMMENT ON COLUMN payloads.content IS 'hash of the days and the rows alone';
COMMENT ON COLUMN payloads.source IS 'a server of the node; empty for the whole node';
COMMENT ON COLUMN payloads.period_start IS 'first day of its logs; null in payloads of older aggregators';
COMMENT ON COLUMN payloads.starts_at IS 'first day of its period or requests, whichever is earlier';
COMMENT ON COLUMN payloads.ends_at IS 'last day of its period or requests, whichever is later';
COMMENT ON COLUMN payloads.revision IS 'the node''s revision that put it in force or withdrew it';
-- Each new payload is compared with those that are in force near its days, and with those of equal content.
CREATE INDEX payloads_in_force ON payloads (node_id, ends_at) WHERE withdrawn_at IS NULL;
CREATE INDEX payloads_content ON payloads (node_id, content) WHERE withdrawn_at IS NULL;
