-- An older version cannot keep two payloads:
-- * one without any request. Nothing is lost from the statistics, but that such a day was received;
-- * one that does not count and has the same content as another one, since the content is all that it compares.
-- These are deleted, and yoyo prints which. All others stay, without source and period, and count as before. Of several
-- that count and have the same content, the first one has the content's hash again; the others keep theirs, and `db verify`
-- of the older version names them.
CREATE TEMPORARY TABLE deleted AS
SELECT payloads.id, nodes.name AS node, payloads.source, payloads.period_start, payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE NOT EXISTS (SELECT 1 FROM payload_days WHERE payload_id = payloads.id)
    OR (withdrawn_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM payloads AS other
        WHERE other.node_id = payloads.node_id AND other.content = payloads.content AND other.id <> payloads.id
            AND (other.withdrawn_at IS NULL OR other.id < payloads.id)
    ))
ORDER BY payloads.id;
SELECT id AS "deleted payload", node, source, period_start, period_end FROM deleted;
-- yoyo does not check foreign keys, so nothing else goes by itself.
UPDATE payloads SET superseded_by = NULL WHERE superseded_by IN (SELECT id FROM deleted);
DELETE FROM payload_days WHERE payload_id IN (SELECT id FROM deleted);
DELETE FROM payloads WHERE id IN (SELECT id FROM deleted);
DROP TABLE deleted;
DROP INDEX payloads_content;
DROP INDEX payloads_in_force;
UPDATE payloads SET hash = content
WHERE hash <> content AND NOT EXISTS (
    SELECT 1 FROM payloads AS other
    WHERE other.node_id = payloads.node_id AND other.content = payloads.content AND other.id <> payloads.id
        AND (other.id < payloads.id OR other.hash = payloads.content)
);
UPDATE payloads SET
    starts_at = (SELECT min(day) FROM payload_days WHERE payload_id = payloads.id),
    ends_at = (SELECT max(day) FROM payload_days WHERE payload_id = payloads.id)
WHERE period_start IS NOT NULL;
ALTER TABLE payloads DROP COLUMN revision;
ALTER TABLE payloads DROP COLUMN content;
ALTER TABLE payloads DROP COLUMN period_end;
ALTER TABLE payloads DROP COLUMN period_start;
ALTER TABLE payloads DROP COLUMN source;
