-- Records of raw transfer logs. Times and days are text in ISO 8601 format.

-- name: kept_from()$
-- Return the first day of which records are kept.
SELECT CAST(records_from AS text) FROM ringserver_pruned;

-- name: has_submissions(node_id, source)$
-- Return whether payloads in force of a source came as payloads.
SELECT EXISTS (
    SELECT 1 FROM payloads
    WHERE node_id = :node_id AND kind = 'ringserver' AND source = :source AND withdrawn_at IS NULL
        AND origin <> 'raw-logs'
);

-- name: has_raw_logs(node_id, source)$
-- Return whether payloads in force of a source were made from raw logs.
SELECT EXISTS (
    SELECT 1 FROM payloads
    WHERE node_id = :node_id AND kind = 'ringserver' AND source = :source AND withdrawn_at IS NULL
        AND origin = 'raw-logs'
);

-- name: is_raw(node_id, hash)$
-- Return whether a payload was made from raw logs.
SELECT EXISTS (
    SELECT 1 FROM payloads
    WHERE node_id = :node_id AND kind = 'ringserver' AND hash = :hash AND origin = 'raw-logs'
);

-- name: days_in_force(node_id, source)
-- Return the payloads in force that were made from raw logs of a source, and their days.
SELECT id, hash, period_start, revision FROM payloads
WHERE node_id = :node_id AND kind = 'ringserver' AND source = :source AND withdrawn_at IS NULL
    AND origin = 'raw-logs'
ORDER BY period_start;

-- name: withdrawn_since(node_id, source, day, revision)
-- Return payloads of a source and day that were withdrawn after a revision, except those that others contain.
SELECT id, revision FROM payloads
WHERE node_id = :node_id AND kind = 'ringserver' AND source = :source AND period_start = :day
    AND withdrawn_at IS NOT NULL AND revision > :revision AND length(body) > 0
ORDER BY id;

-- name: records_of_day(node_id, source, day)
-- Return the digests of the records that count, how often each does, and the fingerprint of their key.
SELECT digest, count, key_fingerprint FROM ringserver_records
WHERE node_id = :node_id AND source = :source AND day = :day;

-- name: merge_records(node_id, source, day, key_fingerprint)!
-- Let the staging rows count.
INSERT INTO ringserver_records (node_id, source, day, digest, count, key_fingerprint)
SELECT :node_id, :source, :day, digest, count, :key_fingerprint FROM staging_records WHERE true
ON CONFLICT (node_id, source, day, digest) DO UPDATE SET count = excluded.count;

-- name: merge_clients(node_id)!
-- Add the staging rows to the sums by client.
INSERT INTO ringserver_by_client AS stored (
    date, node_id, server, direction, hosthash, bytes, packets, records
)
SELECT date, :node_id, server, direction, hosthash, sum(bytes), sum(packets), sum(records)
FROM staging_clients WHERE true
GROUP BY date, server, direction, hosthash
ON CONFLICT (date, node_id, server, direction, hosthash) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    packets = stored.packets + excluded.packets,
    records = stored.records + excluded.records;

-- name: remove_records(node_id, source, day)!
-- Let the records of a source and day count again.
DELETE FROM ringserver_records WHERE node_id = :node_id AND source = :source AND day = :day;

-- name: remove_clients(node_id, source, day)!
DELETE FROM ringserver_by_client WHERE node_id = :node_id AND server = :source AND date = :day;

-- name: remove_events(node_id, source, start, stop)!
DELETE FROM ringserver_events WHERE node_id = :node_id AND server = :source AND time >= :start AND time < :stop;
