-- The indexes of the polygons of a shard.

CREATE INDEX poi_hash ON polygons (po_hash);
CREATE INDEX poi_name ON polygons (po_name);
-- An index has geometries of one reference system. The numbers of those that PostGIS lacks begin with 100000; stations
-- have 4326.
CREATE INDEX poi_polygon_100000 ON polygons USING gist (po_polygon) WHERE st_srid(po_polygon) = 100000;
CREATE INDEX poi_polygon_100001 ON polygons USING gist (po_polygon) WHERE st_srid(po_polygon) = 100001;
CREATE INDEX poi_polygon_4326 ON polygons USING gist (po_polygon) WHERE st_srid(po_polygon) = 4326;
CREATE INDEX poi_srid ON polygons (st_srid(po_polygon));
CREATE INDEX poi_stamp ON polygons (po_min_stamp, po_max_stamp);
CREATE INDEX poi_stamps ON polygons USING gin (po_stamps);
