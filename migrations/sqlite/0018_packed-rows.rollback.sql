ALTER TABLE payloads DROP COLUMN packed_rows;
