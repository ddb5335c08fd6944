-- The rows of payloads column by column, for corrections. Where they are missing, they are added when a correction needs
-- them.
-- depends: 0017_room-for-updates

ALTER TABLE payloads ADD COLUMN packed_rows bytea;
ALTER TABLE payloads ALTER COLUMN packed_rows SET STORAGE EXTERNAL;
COMMENT ON COLUMN payloads.packed_rows IS 'the rows of the body column by column, or null: they can be made again from it';
