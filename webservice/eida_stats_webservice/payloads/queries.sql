-- Payloads of any kind. Times and days are text in ISO 8601 format.

-- name: add_payload(node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, body, origin, revision)^
-- Add a payload.
INSERT INTO payloads (
    node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows,
    body, origin, revision
)
VALUES (
    :node_id, :kind, :hash, :content, :source, :period_start, :period_end, :starts_at, :ends_at, :generated_at,
    :version, :nb_rows, :body, :origin, :revision
)
RETURNING id, created_at;

-- name: find_payload(node_id, kind, hash)^
-- Return the id of the payload with this hash, the time at which it was received, whether it is in force, and whether
-- its body is gone.
SELECT id, created_at, withdrawn_at IS NULL, length(body) = 0 FROM payloads
WHERE node_id = :node_id AND kind = :kind AND hash = :hash;

-- name: payloads_in_force(node_id, kind, first_day, last_day)
-- Return the payloads in force that may have requests of some days, and their first days.
SELECT id, starts_at FROM payloads
WHERE node_id = :node_id AND kind = :kind AND withdrawn_at IS NULL AND starts_at <= :last_day AND ends_at >= :first_day
ORDER BY id;

-- name: payloads_near(node_id, kind, first_day, last_day, content)
-- Return the payloads in force that a new one of their kind may touch.
SELECT id AS payload, hash, content, source, period_start, period_end, revision, created_at AS received_at FROM payloads
WHERE node_id = :node_id AND kind = :kind AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: days_near(node_id, kind, first_day, last_day, content)
-- Return the days of the requests in these payloads.
SELECT payloads.id, payload_days.day
FROM payloads JOIN payload_days ON payload_days.payload_id = payloads.id
WHERE node_id = :node_id AND kind = :kind AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content);

-- name: payloads_withdrawn_near(node_id, kind, first_day, last_day, content, revision)
-- Return the payloads that a new one may touch and that were withdrawn after a revision of the node.
SELECT id AS payload, hash, content, source, period_start, period_end, revision FROM payloads
WHERE node_id = :node_id AND kind = :kind AND withdrawn_at IS NOT NULL AND revision > :revision
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: part_of_body(payload_id, first, count)$
-- Return some bytes of the stored body of a payload. The first byte has the number 1.
SELECT substr(body, :first, :count) FROM payloads WHERE id = :payload_id;

-- name: read_content(payload_id)$
-- Return the hash of the statistics of a payload.
SELECT content FROM payloads WHERE id = :payload_id;

-- name: part_of_packed_rows(payload_id, first, count)$
-- Return some bytes of the packed rows of a payload. The first byte has the number 1.
SELECT substr(packed_rows, :first, :count) FROM payloads WHERE id = :payload_id;

-- name: set_packed_rows(payload_id, packed_rows)!
-- Store the packed rows of a payload.
UPDATE payloads SET packed_rows = :packed_rows WHERE id = :payload_id;

-- name: delete_packed_rows(node_id, kind, first_day, last_day)!
-- Delete the packed rows of the payloads in force that may have requests of some days.
UPDATE payloads SET packed_rows = NULL
WHERE node_id = :node_id AND kind = :kind AND withdrawn_at IS NULL AND starts_at <= :last_day AND ends_at >= :first_day
    AND packed_rows IS NOT NULL;

-- name: withdraw_payload(payload_id, now, superseded_by, revision)!
-- Withdraw a payload, so that it no longer counts.
UPDATE payloads SET withdrawn_at = :now, superseded_by = :superseded_by, revision = :revision, packed_rows = NULL
WHERE id = :payload_id AND withdrawn_at IS NULL;

-- name: is_in_force(node_id, kind, payload_id)$
-- Return whether a payload of a node is in force, or nothing if the node has no such payload.
SELECT withdrawn_at IS NULL FROM payloads WHERE node_id = :node_id AND kind = :kind AND id = :payload_id;

-- name: revision_of_payload(payload_id)$
-- Return the revision of the node that put a payload in force or withdrew it.
SELECT revision FROM payloads WHERE id = :payload_id;

-- name: restore_payload(payload_id, origin, revision)!
-- Put a payload in force again.
UPDATE payloads SET withdrawn_at = NULL, superseded_by = NULL, origin = :origin, revision = :revision
WHERE id = :payload_id;

-- name: superseded_by(payload_id)$
-- Return the payload that superseded another one.
SELECT superseded_by FROM payloads WHERE id = :payload_id;

-- name: list_payloads(node_id, kind, number, count)
-- Return payloads without their bodies, newest first. A negative id selects all nodes, an empty kind all kinds, and a
-- negative number all payloads.
SELECT payloads.id AS payload, nodes.name AS node, payloads.kind, payloads.created_at AS received_at,
    payloads.nb_rows AS rows, payloads.hash, payloads.content, payloads.source, payloads.generated_at, payloads.version, payloads.origin,
    payloads.withdrawn_at, payloads.superseded_by, payloads.period_start, payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:kind = '' OR payloads.kind = :kind)
    AND (:number < 0 OR payloads.id = :number)
ORDER BY payloads.id DESC
LIMIT :count;

-- name: list_payload_days(node_id, kind, number, oldest)
-- Return the days of these payloads, from the oldest one on.
SELECT payload_days.payload_id, payload_days.day
FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:kind = '' OR payloads.kind = :kind)
    AND (:number < 0 OR payloads.id = :number) AND payloads.id >= :oldest
ORDER BY payload_days.payload_id, payload_days.day;

-- name: newest_days(kind)
-- Return the last day of a kind that each node has reported.
SELECT nodes.name, max(COALESCE(payloads.period_end, payloads.ends_at))
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id AND payloads.kind = :kind AND payloads.withdrawn_at IS NULL
GROUP BY nodes.name
ORDER BY nodes.name;

-- name: received_days(kind, first_day, last_day)
-- Return ranges of days of the payloads of a kind in force. They are the periods, or single days for payloads without
-- a period.
SELECT nodes.name, period_start, period_end, true
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE kind = :kind AND withdrawn_at IS NULL AND period_start <= :last_day AND period_end >= :first_day
UNION ALL
SELECT nodes.name, payload_days.day, payload_days.day, false
FROM payloads
JOIN nodes ON nodes.id = payloads.node_id
JOIN payload_days ON payload_days.payload_id = payloads.id
WHERE kind = :kind AND withdrawn_at IS NULL AND period_start IS NULL
    AND payload_days.day BETWEEN :first_day AND :last_day;

-- name: first_days(kind)
-- Return the first day of a kind that each node has ever reported, even if its payload is no longer in force.
SELECT nodes.name, sent.first_day
FROM nodes LEFT JOIN (
    SELECT node_id, min(COALESCE(period_start, starts_at)) AS first_day
    FROM payloads WHERE kind = :kind GROUP BY node_id
) AS sent ON sent.node_id = nodes.id
ORDER BY nodes.name COLLATE "C";

-- name: node_of_payload(payload_id)^
-- Return the node of a payload.
SELECT nodes.id, nodes.name FROM payloads JOIN nodes ON nodes.id = payloads.node_id WHERE payloads.id = :payload_id;

-- name: add_payload_days(payload_id, day)*!
-- Add the days of the requests in a payload.
INSERT INTO payload_days (payload_id, day) VALUES (:payload_id, :day);

-- name: restore_identity(payload_id, hash, content, source, period_start, period_end, starts_at, ends_at)!
-- Set the identity of a payload to that in its body.
UPDATE payloads SET hash = :hash, content = :content, source = :source, period_start = :period_start,
    period_end = :period_end, starts_at = :starts_at, ends_at = :ends_at
WHERE id = :payload_id;
