-- Payloads of any kind: statements for SQLite.

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;
