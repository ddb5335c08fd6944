-- An older version takes all payloads for those of dataselect, so payloads of other kinds are deleted, and yoyo prints
-- which.
SELECT payloads.id AS "deleted payload", nodes.name AS node, payloads.kind, payloads.source, payloads.period_start,
    payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE payloads.kind <> 'dataselect'
ORDER BY payloads.id;
-- yoyo does not check foreign keys, so nothing else goes by itself. Payloads are superseded by others of their kind.
DELETE FROM payload_days WHERE payload_id IN (SELECT id FROM payloads WHERE kind <> 'dataselect');
DELETE FROM payloads WHERE kind <> 'dataselect';
ALTER TABLE payloads DROP COLUMN kind;
