-- A payload is of one kind: statistics of dataselect, or of a ringserver. Rules on periods hold within a kind.
-- depends: 0006_registry-state

ALTER TABLE payloads ADD COLUMN kind text NOT NULL DEFAULT 'dataselect' CHECK (kind IN ('dataselect', 'ringserver'));
COMMENT ON COLUMN payloads.kind IS 'the service whose statistics it has';
