-- Nodes, networks and tokens. Times are text in ISO 8601 format.

-- name: find_node(name)^
-- Return the id of a node.
SELECT id FROM nodes WHERE name = :name;

-- name: add_node(name, contact)^
-- Add a node; return no row if the name is in use.
INSERT INTO nodes (name, contact) VALUES (:name, :contact)
ON CONFLICT (name) DO NOTHING
RETURNING id;

-- name: list_nodes()
-- Return all nodes, with the number of their payloads.
SELECT nodes.name, nodes.contact, nodes.created_at, count(payloads.id) AS payloads,
    max(payloads.created_at) AS last_payload, nodes.restriction_policy, nodes.eas_group
FROM nodes LEFT JOIN payloads ON payloads.node_id = nodes.id
GROUP BY nodes.id, nodes.name, nodes.contact, nodes.created_at, nodes.restriction_policy, nodes.eas_group
ORDER BY nodes.name;

-- name: list_policies()
-- Return the names and policies of all nodes, without counting payloads.
SELECT name, restriction_policy FROM nodes ORDER BY name;

-- name: list_ids()
-- Return the ids and names of all nodes.
SELECT id, name FROM nodes ORDER BY name;

-- name: update_node(node_id, new_name, contact)!
-- Change the name or contact of a node. Null keeps the current value.
UPDATE nodes SET name = COALESCE(:new_name, name), contact = COALESCE(:contact, contact) WHERE id = :node_id;

-- name: remove_node(node_id)!
-- Remove a node with its tokens, payloads and statistics.
DELETE FROM nodes WHERE id = :node_id;

-- name: set_node_policy(node_id, restricted)!
-- Set whether the networks of a node are restricted, except those that invert the policy.
UPDATE nodes SET restriction_policy = :restricted WHERE id = :node_id;

-- name: set_node_group(node_id, eas_group)!
-- Set the group that may see the restricted statistics of a node.
UPDATE nodes SET eas_group = :eas_group WHERE id = :node_id;

-- name: add_network(node_id, name)!
-- Add a network, unless it is already registered.
INSERT INTO networks (node_id, name) VALUES (:node_id, :name)
ON CONFLICT (node_id, name) DO NOTHING;

-- name: list_networks()
-- Return all networks, once for each of their nodes, with policies and groups.
SELECT networks.name, nodes.name AS node, nodes.restriction_policy <> networks.inverted_policy AS restricted,
    networks.inverted_policy, networks.eas_group, nodes.eas_group AS node_eas_group
FROM networks JOIN nodes ON nodes.id = networks.node_id
ORDER BY networks.name, nodes.name;

-- name: set_network_policy(node_id, name, inverted)!
-- Set whether a network inverts the policy of its node.
UPDATE networks SET inverted_policy = :inverted WHERE node_id = :node_id AND name = :name;

-- name: set_network_group(node_id, name, eas_group)!
-- Set the group that may see the restricted statistics of a network.
UPDATE networks SET eas_group = :eas_group WHERE node_id = :node_id AND name = :name;

-- name: add_token(node_id, network, value, valid_from, valid_until)^
-- Add a token. The value is its digest.
INSERT INTO tokens (node_id, network, value, valid_from, valid_until)
VALUES (:node_id, :network, :value, :valid_from, :valid_until)
RETURNING id;

-- name: list_tokens()
-- Return all tokens without their values.
SELECT tokens.id, nodes.name AS node, tokens.network, tokens.valid_from, tokens.valid_until, tokens.revoked_at,
    tokens.created_at
FROM tokens LEFT JOIN nodes ON nodes.id = tokens.node_id
ORDER BY nodes.name IS NULL, nodes.name, tokens.network, tokens.id;

-- name: revoke_token(id, now)!
-- Revoke a token. A revoked token keeps the time of its first revocation.
UPDATE tokens SET revoked_at = COALESCE(revoked_at, :now) WHERE id = :id;

-- name: sender_of_token(value)^
-- Return the node of a token, with the node's current revision.
SELECT nodes.id, nodes.name, nodes.revision, tokens.id, tokens.valid_from, tokens.valid_until, tokens.revoked_at
FROM tokens JOIN nodes ON nodes.id = tokens.node_id
WHERE tokens.value = :value;

-- name: network_of_token(value)^
-- Return the network of an operator's token.
SELECT network, valid_from, valid_until, revoked_at FROM tokens WHERE value = :value AND network IS NOT NULL;

-- name: validity_of_token(id)^
-- Return the validity of a token.
SELECT valid_from, valid_until, revoked_at FROM tokens WHERE id = :id;
