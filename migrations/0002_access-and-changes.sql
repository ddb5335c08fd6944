-- Tokens for the operator of a network, and what tells that answers may have changed.
-- depends: 0001_initial-schema

ALTER TABLE tokens ALTER COLUMN node_id DROP NOT NULL;
ALTER TABLE tokens ADD COLUMN network varchar(8);
ALTER TABLE tokens ADD CONSTRAINT tokens_of_node_or_network CHECK ((node_id IS NULL) <> (network IS NULL));
COMMENT ON COLUMN tokens.network IS 'the network whose restricted statistics it opens, if it is not a node''s';

ALTER TABLE nodes ADD COLUMN revision bigint NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN nodes.revision IS 'how often its statistics or what may be seen of them have changed';
