-- Queries that both stores share. Times and days are given as ISO 8601 text.

-- name: ping()^
-- Whether the database answers and has its schema.
SELECT count(*) FROM nodes WHERE id < 0;

-- name: add_node(name, contact)^
-- A new node, or no row if there is one of that name.
INSERT INTO nodes (name, contact) VALUES (:name, :contact)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_nodes()
-- All nodes, with how many payloads each has sent.
SELECT nodes.name, nodes.contact, nodes.created_at, count(payloads.id) AS payloads, max(payloads.created_at) AS last_payload
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id
GROUP BY nodes.id, nodes.name, nodes.contact, nodes.created_at
ORDER BY nodes.name;

-- name: find_node(name)^
-- A node's id.
SELECT id FROM nodes WHERE name = :name;

-- name: update_node(name, new_name, contact)!
-- A node's name and contact.
UPDATE nodes SET name = :new_name, contact = COALESCE(:contact, contact) WHERE name = :name;

-- name: remove_node(name)!
-- A node and all that it has sent.
DELETE FROM nodes WHERE name = :name;

-- name: add_token(node_id, value, valid_from, valid_until)^
-- A token, by its digest.
INSERT INTO tokens (node_id, value, valid_from, valid_until)
VALUES (:node_id, :value, :valid_from, :valid_until)
RETURNING id;

-- name: list_tokens()
-- All tokens, without their values.
SELECT tokens.id, nodes.name AS node, tokens.valid_from, tokens.valid_until, tokens.revoked_at, tokens.created_at
FROM tokens JOIN nodes ON nodes.id = tokens.node_id
ORDER BY nodes.name, tokens.id;

-- name: revoke_token(id, now)!
-- Make a token invalid from now on; one that was revoked before keeps its time.
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id;

-- name: node_of_token(value, now)^
-- The node of a token that is valid now.
SELECT nodes.id, nodes.name
FROM tokens JOIN nodes ON nodes.id = tokens.node_id
WHERE tokens.value = :value
  AND tokens.valid_from <= :now AND :now < tokens.valid_until AND tokens.revoked_at IS NULL;

-- name: claim_payload(node_id, hash, starts_at, ends_at, generated_at, version, nb_rows, body)^
-- A new payload, or no row if the node has sent it before.
INSERT INTO payloads (node_id, hash, starts_at, ends_at, generated_at, version, nb_rows, body)
VALUES (:node_id, :hash, :starts_at, :ends_at, :generated_at, :version, :nb_rows, :body)
ON CONFLICT (node_id, hash) DO NOTHING
RETURNING id, created_at;

-- name: find_payload(node_id, hash)^
-- When a payload was received.
SELECT id, created_at FROM payloads WHERE node_id = :node_id AND hash = :hash;

-- name: add_payload_days(payload_id, day)*!
-- The days that a payload covers.
INSERT INTO payload_days (payload_id, day) VALUES (:payload_id, :day);

-- name: add_network(node_id, name)*!
-- Networks appear by themselves when statistics of them first come in.
INSERT INTO networks (node_id, name) VALUES (:node_id, :name)
ON CONFLICT (node_id, name) DO NOTHING;

-- name: merge_stats(node_id)!
-- Add the incoming rows to those that are there.
INSERT INTO dataselect_stats AS stored (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM incoming WHERE true
ON CONFLICT (node_id, date, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients),
    updated_at = excluded.updated_at;

-- name: roll_up()!
-- Sum the incoming rows up over the streams of each network; all roll-ups are made from these few rows.
INSERT INTO rolled
SELECT date, network, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM incoming
GROUP BY date, network, country;

-- name: merge_by_network_country(node_id)!
-- The roll-up over the streams of a network.
INSERT INTO dataselect_stats_by_network_country AS stored (
    node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM rolled WHERE true
ON CONFLICT (node_id, date, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_network(node_id)!
-- The roll-up over the streams of a network and all countries.
INSERT INTO dataselect_stats_by_network AS stored (
    node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM rolled WHERE true
GROUP BY date, network
ON CONFLICT (node_id, date, network) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_country(node_id)!
-- The roll-up over all streams, by country.
INSERT INTO dataselect_stats_by_country AS stored (
    node_id, date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM rolled WHERE true
GROUP BY date, country
ON CONFLICT (node_id, date, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: statistics(start, end, by_node, by_network)
-- Sums over the months from start to end, both included; what is not asked for is '*'.
SELECT
    CASE WHEN :by_node THEN nodes.name ELSE '*' END AS node,
    CASE WHEN :by_network THEN stats.network ELSE '*' END AS network,
    sum(stats.bytes) AS bytes,
    sum(stats.nb_reqs) AS nb_reqs,
    sum(stats.nb_successful_reqs) AS nb_successful_reqs,
    hll_cardinality(hll_union_agg(stats.clients)) AS clients
FROM dataselect_stats_by_network AS stats JOIN nodes ON nodes.id = stats.node_id
WHERE stats.date BETWEEN :start AND :end
GROUP BY 1, 2
ORDER BY 1, 2;
