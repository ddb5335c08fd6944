-- One row that counts the changes of nodes and networks, so that such a change does not touch every node.
-- depends: 0005_groups-without-prefix

CREATE TABLE registry_state (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    revision bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE registry_state IS 'how often nodes, networks and their policies have changed, and when last';
INSERT INTO registry_state (changed_at) SELECT COALESCE(max(changed_at), now()) FROM nodes;
COMMENT ON COLUMN nodes.revision IS 'how often its statistics have changed';
