-- Payloads of any kind: statements for SQLite.

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;

-- name: set_body(payload_id, body)!
-- Empty the body of a payload that another one contains, or fill it again.
UPDATE payloads SET body = :body
WHERE id = :payload_id AND CASE
    WHEN length(:body) = 0 THEN origin = 'raw-logs' AND superseded_by IS NOT NULL
    ELSE length(body) = 0
END;
