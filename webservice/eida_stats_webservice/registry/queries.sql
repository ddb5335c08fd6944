-- Nodes, networks and tokens. Times are ISO 8601 text.

-- name: find_node(name)^
-- A node's id.
SELECT id FROM nodes WHERE name = :name;

-- name: add_node(name, contact)^
-- A new node, or no row if there is one of that name.
INSERT INTO nodes (name, contact) VALUES (:name, :contact)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_nodes()
-- All nodes, with how many payloads each has sent.
SELECT nodes.name, nodes.contact, nodes.created_at, count(payloads.id) AS payloads, max(payloads.created_at) AS last_payload,
    nodes.restriction_policy, nodes.eas_group
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id
GROUP BY nodes.id, nodes.name, nodes.contact, nodes.created_at, nodes.restriction_policy, nodes.eas_group
ORDER BY nodes.name;

-- name: list_policies()
-- Names and policies of all nodes, without a look at what they have sent.
SELECT name, restriction_policy FROM nodes ORDER BY name;

-- name: list_ids()
-- Ids and names of all nodes.
SELECT id, name FROM nodes ORDER BY name;

-- name: update_node(node_id, new_name, contact)!
-- A node's name and contact; null keeps them.
UPDATE nodes SET name = COALESCE(:new_name, name), contact = COALESCE(:contact, contact) WHERE id = :node_id;

-- name: remove_node(node_id)!
-- A node and all that it has sent.
DELETE FROM nodes WHERE id = :node_id;

-- name: set_node_policy(node_id, restricted)!
-- Whether the networks of a node are restricted, unless they invert that.
UPDATE nodes SET restriction_policy = :restricted WHERE id = :node_id;

-- name: set_node_group(node_id, eas_group)!
-- Whose members see the restricted statistics of a node.
UPDATE nodes SET eas_group = :eas_group WHERE id = :node_id;

-- name: add_network(node_id, name)*!
-- Networks appear by themselves when statistics of them first come in.
INSERT INTO networks (node_id, name) VALUES (:node_id, :name)
ON CONFLICT (node_id, name) DO NOTHING;

-- name: list_networks()
-- All networks, at each of their nodes, with the policies and groups that open them.
SELECT networks.name, nodes.name AS node, nodes.restriction_policy <> networks.inverted_policy AS restricted,
    networks.inverted_policy, networks.eas_group, nodes.eas_group AS node_eas_group
FROM networks JOIN nodes ON nodes.id = networks.node_id
ORDER BY networks.name, nodes.name;

-- name: set_network_policy(node_id, name, inverted)!
-- Whether a network inverts the policy of its node.
UPDATE networks SET inverted_policy = :inverted WHERE node_id = :node_id AND name = :name;

-- name: set_network_group(node_id, name, eas_group)!
-- Whose members see the restricted statistics of a network.
UPDATE networks SET eas_group = :eas_group WHERE node_id = :node_id AND name = :name;

-- name: add_token(node_id, network, value, valid_from, valid_until)^
-- A token, by its digest.
INSERT INTO tokens (node_id, network, value, valid_from, valid_until)
VALUES (:node_id, :network, :value, :valid_from, :valid_until)
RETURNING id;

-- name: list_tokens()
-- All tokens, without their values.
SELECT tokens.id, nodes.name AS node, tokens.network, tokens.valid_from, tokens.valid_until, tokens.revoked_at,
    tokens.created_at
FROM tokens LEFT JOIN nodes ON nodes.id = tokens.node_id
ORDER BY nodes.name IS NULL, nodes.name, tokens.network, tokens.id;

-- name: revoke_token(id, now)!
-- Make a token invalid from now on; one that was revoked before keeps its time.
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id;

-- name: sender_of_token(value)^
-- A node's token, and the node with its revision, by which a request sees what has changed since it arrived.
SELECT nodes.id, nodes.name, nodes.revision, tokens.id, tokens.valid_from, tokens.valid_until, tokens.revoked_at
FROM tokens JOIN nodes ON nodes.id = tokens.node_id
WHERE tokens.value = :value;

-- name: network_of_token(value)^
-- An operator's token, and its network.
SELECT network, valid_from, valid_until, revoked_at FROM tokens WHERE value = :value AND network IS NOT NULL;

-- name: validity_of_token(id)^
-- Since when and until when a token is valid, and when it was revoked.
SELECT valid_from, valid_until, revoked_at FROM tokens WHERE id = :id;
