-- Do nothing: SQLite updates rows where they are.
-- depends: 0016_revisions-of-payloads

SELECT 1;
