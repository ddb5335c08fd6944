-- Payloads of any kind: statements for PostgreSQL.

-- name: has_rights()$
-- Return whether the role has the privileges of the service on payloads.
SELECT has_column_privilege('payloads', 'body', 'INSERT') AND has_column_privilege('payloads', 'kind', 'INSERT')
    AND has_table_privilege('payload_days', 'INSERT');
