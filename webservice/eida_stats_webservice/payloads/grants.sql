-- The privileges of the service's role to store payloads.

GRANT SELECT,
    INSERT (node_id, kind, hash, content, source, period_start, period_end, starts_at, ends_at, generated_at,
        version, nb_rows, body, origin, revision),
    UPDATE (packed_rows, origin, withdrawn_at, superseded_by, revision)
    ON payloads TO {role};
GRANT SELECT, INSERT ON payload_days TO {role};
