-- One row that counts the changes of nodes and networks, so that such a change does not touch every node.
-- depends: 0005_groups-without-prefix

CREATE TABLE registry_state (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    revision integer NOT NULL DEFAULT 0,
    changed_at text NOT NULL
);
INSERT INTO registry_state (changed_at)
SELECT COALESCE(max(changed_at), strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')) FROM nodes;
