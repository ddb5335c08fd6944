-- Find the last change of a node's payloads that begin before some day, without reading their bodies.
-- depends: 0015_sums-by-station

CREATE INDEX payloads_revision ON payloads (node_id, revision, starts_at);
