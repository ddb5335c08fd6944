-- The polygons of a shard, with PostGIS only.

CREATE TABLE polygons (
    po_hash uuid NOT NULL,
    po_stamps timestamptz[],
    po_min_stamp timestamptz,
    po_max_stamp timestamptz,
    po_name text,
    po_pixel_x numeric,
    po_pixel_y numeric,
    po_polygon geometry
);
COMMENT ON TABLE polygons IS 'where the layers of rasters are, and the stations of the channels in files';
COMMENT ON COLUMN polygons.po_stamps IS 'of a layer, its times; of a channel, the starts and ends of its segments';
COMMENT ON COLUMN polygons.po_name IS 'the namespace of the layer, or the channel';
