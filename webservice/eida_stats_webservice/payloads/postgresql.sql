-- Payloads of any kind: statements for PostgreSQL.

-- name: has_rights()$
-- Return whether the role has the privileges of the service on payloads.
SELECT has_column_privilege('payloads', 'body', 'INSERT') AND has_column_privilege('payloads', 'kind', 'INSERT')
    AND has_column_privilege('payloads', 'origin', 'UPDATE')
    AND has_column_privilege('payloads', 'packed_rows', 'UPDATE') AND has_table_privilege('payload_days', 'INSERT');

-- name: set_body(payload_id, body)!
-- Empty the body of a payload that another one contains, or fill it again.
SELECT ringserver_set_body(:payload_id, :body);
