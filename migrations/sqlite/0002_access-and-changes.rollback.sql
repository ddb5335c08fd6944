ALTER TABLE nodes DROP COLUMN changed_at;
ALTER TABLE nodes DROP COLUMN revision;
-- An older version knows no tokens but those of nodes.
CREATE TABLE old_tokens (
    id integer PRIMARY KEY,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    value text NOT NULL UNIQUE CHECK (length(value) = 64),
    valid_from text NOT NULL,
    valid_until text NOT NULL CHECK (valid_until > valid_from),
    revoked_at text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))
);
INSERT INTO old_tokens (id, node_id, value, valid_from, valid_until, revoked_at, created_at)
SELECT id, node_id, value, valid_from, valid_until, revoked_at, created_at FROM tokens WHERE node_id IS NOT NULL;
DROP TABLE tokens;
ALTER TABLE old_tokens RENAME TO tokens;
