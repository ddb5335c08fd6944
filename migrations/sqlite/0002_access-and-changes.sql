-- Tokens for the operator of a network, and what tells that answers may have changed.
-- depends: 0001_initial-schema

-- SQLite cannot let a column be null that was not.
CREATE TABLE new_tokens (
    id integer PRIMARY KEY,
    node_id integer REFERENCES nodes (id) ON DELETE CASCADE,
    value text NOT NULL UNIQUE CHECK (length(value) = 64),
    valid_from text NOT NULL,
    valid_until text NOT NULL CHECK (valid_until > valid_from),
    revoked_at text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    network text CHECK (length(network) <= 8),
    CHECK ((node_id IS NULL) <> (network IS NULL))
);
INSERT INTO new_tokens (id, node_id, value, valid_from, valid_until, revoked_at, created_at)
SELECT id, node_id, value, valid_from, valid_until, revoked_at, created_at FROM tokens;
DROP TABLE tokens;
ALTER TABLE new_tokens RENAME TO tokens;

-- A column that is added cannot have the present time as its default; a node that is added gives it.
ALTER TABLE nodes ADD COLUMN revision integer NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN changed_at text NOT NULL DEFAULT '1970-01-01T00:00:00.000+00:00';
UPDATE nodes SET changed_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now');
