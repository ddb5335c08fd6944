-- The rows of payloads column by column, for corrections. Those of earlier payloads are added when a correction needs
-- them.
-- depends: 0017_room-for-updates

ALTER TABLE payloads ADD COLUMN packed_rows blob;
