-- An older version reads the state of its answers from the nodes alone.
UPDATE nodes SET revision = revision + 1,
    changed_at = max(changed_at, (SELECT changed_at FROM registry_state));
DROP TABLE registry_state;
