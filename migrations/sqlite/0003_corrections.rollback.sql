-- An older version counts all payloads that are there, so those that do not count must go.
DELETE FROM payload_days WHERE payload_id IN (SELECT id FROM payloads WHERE withdrawn_at IS NOT NULL);
DELETE FROM payloads WHERE withdrawn_at IS NOT NULL;
-- SQLite cannot drop a column that refers to another one.
CREATE TABLE old_payloads (
    id integer PRIMARY KEY,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    hash text NOT NULL CHECK (length(hash) = 32),
    starts_at text NOT NULL,
    ends_at text NOT NULL CHECK (ends_at >= starts_at),
    generated_at text NOT NULL,
    version text NOT NULL,
    nb_rows integer NOT NULL,
    body blob NOT NULL,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    UNIQUE (node_id, hash)
);
INSERT INTO old_payloads
SELECT id, node_id, hash, starts_at, ends_at, generated_at, version, nb_rows, body, created_at FROM payloads;
DROP TABLE payloads;
ALTER TABLE old_payloads RENAME TO payloads;
