-- The rows of payloads column by column, for corrections. Where they are missing, they are added when a correction needs
-- them.
-- depends: 0017_room-for-updates

ALTER TABLE payloads ADD COLUMN packed_rows blob;
