-- An older version reads the state of its answers from the nodes alone.
UPDATE nodes SET revision = nodes.revision + 1, changed_at = GREATEST(nodes.changed_at, registry_state.changed_at)
FROM registry_state;
COMMENT ON COLUMN nodes.revision IS 'how often its statistics or what may be seen of them have changed';
DROP TABLE registry_state;
