ALTER TABLE nodes DROP COLUMN changed_at;
ALTER TABLE nodes DROP COLUMN revision;
-- An older version knows no tokens but those of nodes.
DELETE FROM tokens WHERE node_id IS NULL;
ALTER TABLE tokens DROP CONSTRAINT tokens_of_node_or_network;
ALTER TABLE tokens DROP COLUMN network;
ALTER TABLE tokens ALTER COLUMN node_id SET NOT NULL;
