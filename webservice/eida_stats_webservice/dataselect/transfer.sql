-- Statements to copy a whole database into another.

-- name: export_nodes()
-- Return all nodes with all columns to copy.
SELECT id, name, contact, restriction_policy, eas_group, revision, changed_at, created_at FROM nodes ORDER BY id;

-- name: export_tokens()
SELECT id, node_id, network, value, valid_from, valid_until, revoked_at, created_at FROM tokens ORDER BY id;

-- name: export_networks()
SELECT node_id, name, inverted_policy, eas_group, created_at FROM networks ORDER BY node_id, name;

-- name: export_payloads()
-- Return all payloads with all columns to copy, except the bodies.
SELECT id, node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version,
    nb_rows, origin, withdrawn_at, superseded_by, revision, created_at
FROM payloads ORDER BY id;

-- name: export_payload_days()
SELECT payload_id, day FROM payload_days;

-- name: insert_node_with_id(id, name, contact, restriction_policy, eas_group, revision, changed_at, created_at)!
-- Add a node with the same id and times as in the other database.
INSERT INTO nodes (id, name, contact, restriction_policy, eas_group, revision, changed_at, created_at)
VALUES (:id, :name, :contact, CAST(:restriction_policy AS boolean), :eas_group, :revision, :changed_at, :created_at);

-- name: insert_token_with_id(id, node_id, network, value, valid_from, valid_until, revoked_at, created_at)!
INSERT INTO tokens (id, node_id, network, value, valid_from, valid_until, revoked_at, created_at)
VALUES (:id, :node_id, :network, :value, :valid_from, :valid_until, :revoked_at, :created_at);

-- name: insert_network(node_id, name, inverted_policy, eas_group, created_at)!
INSERT INTO networks (node_id, name, inverted_policy, eas_group, created_at)
VALUES (:node_id, :name, CAST(:inverted_policy AS boolean), :eas_group, :created_at);

-- name: insert_payload_with_id(id, node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version, nb_rows, origin, withdrawn_at, revision, created_at, body)!
-- Add a payload. superseded_by is set later, because that payload may not exist yet.
INSERT INTO payloads (
    id, node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at, version,
    nb_rows, origin, withdrawn_at, revision, created_at, body
)
VALUES (
    :id, :node_id, :kind, :hash, :content, :source, :period_start, :period_end, :starts_at, :ends_at, :generated_at,
    :version, :nb_rows, :origin, :withdrawn_at, :revision, :created_at, :body
);

-- name: set_superseded_by(id, superseded_by)!
-- Set the payload that superseded another one.
UPDATE payloads SET superseded_by = :superseded_by WHERE id = :id;

-- name: insert_payload_days(payload_id, day)*!
INSERT INTO payload_days (payload_id, day) VALUES (:payload_id, :day);
