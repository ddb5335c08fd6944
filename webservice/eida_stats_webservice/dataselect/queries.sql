-- Payloads and their sums. Times and days are text in ISO 8601 format.

-- name: add_payload(node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, body, origin, revision)^
-- Add a payload.
INSERT INTO payloads (
    node_id, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, body,
    origin, revision
)
VALUES (
    :node_id, :hash, :content, :source, :period_start, :period_end, :starts_at, :ends_at, :generated_at, :version,
    :nb_rows, :body, :origin, :revision
)
RETURNING id, created_at;

-- name: find_payload(node_id, hash)^
-- Return the id of the payload with this hash, the time at which it was received, and whether it is in force.
SELECT id, created_at, withdrawn_at IS NULL FROM payloads WHERE node_id = :node_id AND hash = :hash;

-- name: payloads_in_force(node_id, first_day, last_day)
-- Return the payloads in force that may have requests of some days, and their first days.
SELECT id, starts_at FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NULL AND starts_at <= :last_day AND ends_at >= :first_day
ORDER BY id;

-- name: payloads_near(node_id, first_day, last_day, content)
-- Return the payloads in force that a new one may touch. All payloads are of one kind. A second kind would need another
-- condition here.
SELECT id AS payload, hash, content, source, period_start, period_end, revision, created_at AS received_at FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: days_near(node_id, first_day, last_day, content)
-- Return the days of the requests in these payloads.
SELECT payloads.id, payload_days.day
FROM payloads JOIN payload_days ON payload_days.payload_id = payloads.id
WHERE node_id = :node_id AND withdrawn_at IS NULL
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content);

-- name: payloads_withdrawn_near(node_id, first_day, last_day, content, revision)
-- Return the payloads that a new one may touch and that were withdrawn after a revision of the node.
SELECT id AS payload, hash, content, source, period_start, period_end, revision FROM payloads
WHERE node_id = :node_id AND withdrawn_at IS NOT NULL AND revision > :revision
    AND (starts_at <= :last_day AND ends_at >= :first_day OR content = :content)
ORDER BY id;

-- name: part_of_body(payload_id, first, count)$
-- Return some bytes of the stored body of a payload. The first byte has the number 1.
SELECT substr(body, :first, :count) FROM payloads WHERE id = :payload_id;

-- name: withdraw_payload(payload_id, now, superseded_by, revision)!
-- Withdraw a payload, so that it no longer counts.
UPDATE payloads SET withdrawn_at = :now, superseded_by = :superseded_by, revision = :revision
WHERE id = :payload_id AND withdrawn_at IS NULL;

-- name: is_in_force(node_id, payload_id)$
-- Return whether a payload of a node is in force, or nothing if the node has no such payload.
SELECT withdrawn_at IS NULL FROM payloads WHERE node_id = :node_id AND id = :payload_id;

-- name: revision_of_payload(payload_id)$
-- Return the revision of the node that put a payload in force or withdrew it.
SELECT revision FROM payloads WHERE id = :payload_id;

-- name: restore_payload(payload_id, revision)!
-- Put a payload in force again.
UPDATE payloads SET withdrawn_at = NULL, superseded_by = NULL, revision = :revision WHERE id = :payload_id;

-- name: list_payloads(node_id, number, count)
-- Return payloads without their bodies, newest first. A negative id selects all nodes; a negative number selects all
-- payloads.
SELECT payloads.id AS payload, nodes.name AS node, payloads.created_at AS received_at, payloads.nb_rows AS rows,
    payloads.hash, payloads.content, payloads.source, payloads.generated_at, payloads.version, payloads.origin,
    payloads.withdrawn_at, payloads.superseded_by, payloads.period_start, payloads.period_end
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:number < 0 OR payloads.id = :number)
ORDER BY payloads.id DESC
LIMIT :count;

-- name: list_payload_days(node_id, number, oldest)
-- Return the days of these payloads, from the oldest one on.
SELECT payload_days.payload_id, payload_days.day
FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
WHERE (:node_id < 0 OR payloads.node_id = :node_id) AND (:number < 0 OR payloads.id = :number) AND payloads.id >= :oldest
ORDER BY payload_days.payload_id, payload_days.day;

-- name: newest_days()
-- Return the last day that each node has reported.
SELECT nodes.name, max(COALESCE(payloads.period_end, payloads.ends_at))
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id AND payloads.withdrawn_at IS NULL
GROUP BY nodes.name
ORDER BY nodes.name;

-- name: received_days(first_day, last_day)
-- Return ranges of days of the payloads in force. They are the periods, or single days for payloads without a period.
SELECT nodes.name, period_start, period_end, true
FROM payloads JOIN nodes ON nodes.id = payloads.node_id
WHERE withdrawn_at IS NULL AND period_start <= :last_day AND period_end >= :first_day
UNION ALL
SELECT nodes.name, payload_days.day, payload_days.day, false
FROM payloads
JOIN nodes ON nodes.id = payloads.node_id
JOIN payload_days ON payload_days.payload_id = payloads.id
WHERE withdrawn_at IS NULL AND period_start IS NULL AND payload_days.day BETWEEN :first_day AND :last_day;

-- name: first_days()
-- Return the first day that each node has ever reported, even if its payload is no longer in force.
SELECT nodes.name, sent.first_day
FROM nodes LEFT JOIN (
    SELECT node_id, min(COALESCE(period_start, starts_at)) AS first_day FROM payloads GROUP BY node_id
) AS sent ON sent.node_id = nodes.id
ORDER BY nodes.name COLLATE "C";

-- name: node_of_payload(payload_id)^
-- Return the node of a payload.
SELECT nodes.id, nodes.name FROM payloads JOIN nodes ON nodes.id = payloads.node_id WHERE payloads.id = :payload_id;

-- name: add_payload_days(payload_id, day)*!
-- Add the days of the requests in a payload.
INSERT INTO payload_days (payload_id, day) VALUES (:payload_id, :day);

-- name: add_networks(node_id)!
-- Add the networks of the staging rows, except known ones.
INSERT INTO networks (node_id, name)
SELECT DISTINCT :node_id, network FROM staging_by_network WHERE network <> '' ORDER BY network
ON CONFLICT (node_id, name) DO NOTHING;

-- name: merge_stats(node_id)!
-- Add the staging rows to the stored rows.
INSERT INTO dataselect_stats AS stored (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging WHERE true
ON CONFLICT (node_id, date, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients),
    updated_at = excluded.updated_at;

-- name: insert_stats(node_id)!
-- Store the sums of the staging rows of several payloads, for months without stored rows.
INSERT INTO dataselect_stats (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging
GROUP BY date, network, station, location, channel, country;

-- name: aggregate_by_network()!
-- Add up the staging rows over the streams of each network. All roll-ups are computed from these few rows.
INSERT INTO staging_by_network
SELECT date, network, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging
GROUP BY date, network, country;

-- name: merge_by_network_country(node_id)!
-- Update the roll-up over the streams of each network.
INSERT INTO dataselect_stats_by_network_country AS stored (
    node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging_by_network WHERE true
ON CONFLICT (node_id, date, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_network(node_id)!
-- Update the roll-up over the streams of each network and all countries.
INSERT INTO dataselect_stats_by_network AS stored (
    node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging_by_network WHERE true
GROUP BY date, network
ON CONFLICT (node_id, date, network) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_country(node_id)!
-- Update the roll-up over all streams, by country.
INSERT INTO dataselect_stats_by_country AS stored (
    node_id, date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging_by_network WHERE true
GROUP BY date, country
ON CONFLICT (node_id, date, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: restore_identity(payload_id, hash, content, source, period_start, period_end, starts_at, ends_at)!
-- Set the identity of a payload to that in its body.
UPDATE payloads SET hash = :hash, content = :content, source = :source, period_start = :period_start,
    period_end = :period_end, starts_at = :starts_at, ends_at = :ends_at
WHERE id = :payload_id;

-- name: remove_stats(node_id, days)!
-- Delete a node's rows of some months before they are computed again.
DELETE FROM dataselect_stats WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network_country(node_id, days)!
DELETE FROM dataselect_stats_by_network_country WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network(node_id, days)!
DELETE FROM dataselect_stats_by_network WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_country(node_id, days)!
DELETE FROM dataselect_stats_by_country WHERE node_id = :node_id AND date IN :days;

-- name: months_of_node(node_id)
-- Return one or more days of each month for which a node has statistics or payloads in force.
SELECT date FROM dataselect_stats WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network_country WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_country WHERE node_id = :node_id
UNION SELECT day FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
    WHERE node_id = :node_id AND withdrawn_at IS NULL
UNION SELECT starts_at FROM payloads WHERE node_id = :node_id AND withdrawn_at IS NULL;

-- name: read_dataselect_stats(node_id, first_day, last_day)
SELECT date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_network_country(node_id, first_day, last_day)
SELECT date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_network_country WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_network(node_id, first_day, last_day)
SELECT date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_network WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_country(node_id, first_day, last_day)
SELECT date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_country WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;
