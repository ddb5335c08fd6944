-- An older version takes all payloads for those of dataselect, so payloads of other kinds are deleted, and yoyo prints
-- which.
SELECT payloads.id AS "deleted payload", nodes.name AS node, payloads.kind, payloads.source, payloads.period_start,
    payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE payloads.kind <> 'dataselect'
ORDER BY payloads.id;
DELETE FROM payloads WHERE kind <> 'dataselect';
ALTER TABLE payloads DROP COLUMN kind;
