-- The indexes of one shard. A rebuild creates them after the rows.

ALTER TABLE paths ADD PRIMARY KEY (pa_hash);
CREATE INDEX pai_parent ON paths ((pa_parents[array_length(pa_parents, 1)]));
CREATE INDEX pai_parents ON paths USING gin (pa_parents);
CREATE INDEX pai_type ON paths (pa_type);
CREATE UNIQUE INDEX mdi_pk ON metadata (md_hash, md_type);
ALTER TABLE files ADD PRIMARY KEY (fi_hash);
CREATE INDEX fii_parent ON files (fi_parent);
ALTER TABLE directories ADD PRIMARY KEY (di_hash);
CREATE INDEX dii_parent ON directories (di_parent);
ALTER TABLE links ADD PRIMARY KEY (li_hash);
CREATE INDEX lii_parent ON links (li_parent);
CREATE INDEX spi_hash ON spans (sp_hash);
CREATE INDEX spi_stream ON spans (sp_network, sp_station, sp_location, sp_channel, sp_start);
CREATE INDEX spi_time ON spans USING gist (tstzrange(sp_start, sp_end, '[]'));
CREATE INDEX tli_stream ON timeline (tl_network, tl_station, tl_location, tl_channel, tl_start);
CREATE INDEX tli_time ON timeline USING gist (tstzrange(tl_start, tl_end, '[]'));
