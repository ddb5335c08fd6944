-- An older version cannot keep two payloads:
-- * one without any request. Nothing is lost from the statistics, but that such a day was received;
-- * one that does not count and has the same content as another one, since the content is all that it compares.
-- These are deleted, and yoyo prints which. All others stay, without source and period, and count as before. Of several
-- that count and have the same content, the first one has the content's hash again; the others keep theirs, and `db verify`
-- of the older version names them.
SELECT payloads.id AS "deleted payload", nodes.name AS node, payloads.source, payloads.period_start,
    payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE NOT EXISTS (SELECT FROM payload_days WHERE payload_id = payloads.id)
    OR (withdrawn_at IS NOT NULL AND EXISTS (
        SELECT FROM payloads AS other
        WHERE other.node_id = payloads.node_id AND other.content = payloads.content AND other.id <> payloads.id
            AND (other.withdrawn_at IS NULL OR other.id < payloads.id)
    ))
ORDER BY payloads.id;
DELETE FROM payloads
WHERE NOT EXISTS (SELECT FROM payload_days WHERE payload_id = payloads.id)
    OR (withdrawn_at IS NOT NULL AND EXISTS (
        SELECT FROM payloads AS other
        WHERE other.node_id = payloads.node_id AND other.content = payloads.content AND other.id <> payloads.id
            AND (other.withdrawn_at IS NULL OR other.id < payloads.id)
    ));
DROP INDEX payloads_content;
DROP INDEX payloads_in_force;
UPDATE payloads SET hash = content
WHERE hash <> content AND NOT EXISTS (
    SELECT FROM payloads AS other
    WHERE other.node_id = payloads.node_id AND other.content = payloads.content AND other.id <> payloads.id
        AND (other.id < payloads.id OR other.hash = payloads.content)
);
UPDATE payloads SET starts_at = days.first, ends_at = days.last
FROM (SELECT payload_id, min(day) AS first, max(day) AS last FROM payload_days GROUP BY payload_id) AS days
WHERE days.payload_id = payloads.id AND period_start IS NOT NULL;
ALTER TABLE payloads DROP COLUMN revision;
ALTER TABLE payloads DROP COLUMN content;
ALTER TABLE payloads DROP COLUMN period_end;
ALTER TABLE payloads DROP COLUMN period_start;
ALTER TABLE payloads DROP COLUMN source;
COMMENT ON COLUMN payloads.hash IS NULL;
COMMENT ON COLUMN payloads.starts_at IS NULL;
COMMENT ON COLUMN payloads.ends_at IS NULL;
