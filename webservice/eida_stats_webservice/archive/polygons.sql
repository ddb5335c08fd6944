-- Polygons, with PostGIS only. Names without a schema are temporary tables and those of the shard.

-- name: create_staging()!
DROP TABLE IF EXISTS pg_temp.refreshed, pg_temp.layers, pg_temp.systems, pg_temp.moved_streams;
CREATE TEMPORARY TABLE refreshed (hash uuid) ON COMMIT DROP;
CREATE TEMPORARY TABLE moved_streams (network text, station text, location text, channel text) ON COMMIT DROP;

-- name: stage_hash()!
COPY refreshed (hash) FROM STDIN

-- name: stage_all()!
INSERT INTO refreshed SELECT pa_hash FROM paths;

-- name: stage_stream()!
COPY moved_streams (network, station, location, channel) FROM STDIN

-- name: stage_streams()!
-- Stage the paths that have segments of some streams.
INSERT INTO refreshed
SELECT DISTINCT sp_hash
FROM moved_streams
JOIN spans ON sp_network = network AND sp_station = station AND sp_location = location AND sp_channel = channel;

-- name: analyse_staged()!
ANALYZE refreshed;

-- name: delete_all()!
DELETE FROM polygons;

-- name: delete_polygons()!
DELETE FROM polygons WHERE po_hash IN (SELECT hash FROM refreshed);

-- name: has_layers()$
SELECT EXISTS (SELECT FROM refreshed JOIN metadata ON md_hash = hash WHERE md_type = 'gdal');

-- name: find_layers()!
-- The layers of rasters, with what can be parsed of them.
CREATE TEMPORARY TABLE layers ON COMMIT DROP AS
SELECT *,
    stamps IS NOT NULL AND (wkt IS NULL OR polygon IS NOT NULL)
    AND (width IS NULL OR pixel_x IS NOT NULL) AND (height IS NULL OR pixel_y IS NOT NULL) AS is_valid
FROM (
    SELECT *, pg_temp.parse_stamps(times) AS stamps, pg_temp.parse_polygon(wkt) AS polygon,
        pg_temp.parse_number(width) AS pixel_x, pg_temp.parse_number(height) AS pixel_y
    FROM (
        SELECT hash, trim(geo#>>'{namespace}') AS name, geo->'timestamps' AS times, trim(geo#>>'{polygon}') AS wkt,
            geo#>'{geotransform}'->>1 AS width, geo#>'{geotransform}'->>5 AS height,
            trim(geo#>>'{proj_wkt}') AS srtext, trim(geo#>>'{proj4}') AS proj4text
        FROM (
            SELECT md_hash AS hash, jsonb_array_elements(md_json->'geo_metadata') AS geo
            FROM refreshed JOIN metadata ON md_hash = refreshed.hash
            WHERE md_type = 'gdal' AND jsonb_typeof(md_json->'geo_metadata') = 'array'
        ) AS elements
    ) AS texts
    -- Parse each text once.
    OFFSET 0
) AS parsed;

-- name: find_systems()!
-- The reference systems of the layers. PostGIS ends most of its own texts with a space.
CREATE TEMPORARY TABLE systems ON COMMIT DROP AS
SELECT pairs.srtext, pairs.proj4text, min(known.srid) AS srid, min(known.srid) IS NULL AS is_new
FROM (
    SELECT DISTINCT srtext, proj4text FROM layers
    WHERE is_valid AND length(srtext) BETWEEN 1 AND 2048 AND length(proj4text) BETWEEN 1 AND 2048
) AS pairs
LEFT JOIN spatial_ref_sys AS known
    ON trim(known.srtext) = pairs.srtext AND trim(known.proj4text) = pairs.proj4text
GROUP BY pairs.srtext, pairs.proj4text;

-- name: has_new_systems()$
SELECT EXISTS (SELECT FROM systems WHERE is_new);

-- name: may_register()$
SELECT has_table_privilege('spatial_ref_sys', 'INSERT');

-- name: lock_systems()^
-- Let transactions that register reference systems wait for each other. A lock of the table needs more rights.
SELECT 1 FROM pg_advisory_xact_lock('spatial_ref_sys'::regclass::oid::bigint);

-- name: register_systems()!
-- Register reference systems with the lowest free numbers from 100000 on. PostGIS itself uses some above.
UPDATE systems SET srid = numbered.srid
FROM (
    SELECT srtext, proj4text, row_number() OVER (ORDER BY srtext, proj4text) AS number FROM systems WHERE is_new
) AS new
JOIN (
    SELECT srid, row_number() OVER (ORDER BY srid) AS number
    FROM (
        SELECT srid FROM generate_series(100000, 998999) AS srid
        WHERE NOT EXISTS (SELECT FROM spatial_ref_sys AS taken WHERE taken.srid = srid.srid)
        ORDER BY srid LIMIT (SELECT count(*) FROM systems WHERE is_new)
    ) AS free
) AS numbered USING (number)
WHERE systems.srtext = new.srtext AND systems.proj4text = new.proj4text;
INSERT INTO spatial_ref_sys (srid, srtext, proj4text)
SELECT srid, srtext, proj4text FROM systems WHERE is_new AND srid IS NOT NULL;

-- name: add_layers()!
INSERT INTO polygons
SELECT hash, stamps, (SELECT min(stamp) FROM unnest(stamps) AS stamp),
    (SELECT max(stamp) FROM unnest(stamps) AS stamp), name, pixel_x, pixel_y, ST_SetSRID(polygon, srid)
FROM layers JOIN systems USING (srtext, proj4text)
WHERE is_valid AND srid IS NOT NULL;

-- name: count_layers()^
-- Return the numbers of all layers, of those that are valid, and of those whose reference system is not registered.
SELECT count(*), count(*) FILTER (WHERE is_valid AND systems.srtext IS NOT NULL),
    count(*) FILTER (WHERE is_valid AND systems.srtext IS NOT NULL AND srid IS NULL)
FROM layers LEFT JOIN systems USING (srtext, proj4text);

-- name: add_stations(code)!
-- The places of the channels in files: of the epoch that has most of a segment.
INSERT INTO polygons (po_hash, po_stamps, po_min_stamp, po_max_stamp, po_name, po_polygon)
SELECT sp_hash, array_agg(stamp ORDER BY stamp), min(stamp), max(stamp), sp_channel,
    ST_SetSRID(ST_MakePoint(longitude, latitude), 4326)
FROM refreshed
JOIN spans ON sp_hash = hash
CROSS JOIN LATERAL (
    SELECT longitude, latitude FROM stations
    WHERE sh_code = :code AND network = sp_network AND station = sp_station AND location = sp_location
        AND channel = sp_channel AND first <= sp_end AND (last IS NULL OR last >= sp_start)
    ORDER BY least(sp_end, last) - greatest(sp_start, first) DESC, first DESC
    LIMIT 1
) AS place
CROSS JOIN LATERAL unnest(ARRAY[sp_start, sp_end]) AS stamp
GROUP BY sp_hash, sp_network, sp_station, sp_location, sp_channel, longitude, latitude;

-- name: find_system(authority, number)$
-- Return the number of a reference system by that of its authority.
SELECT min(srid) FROM spatial_ref_sys WHERE auth_name ILIKE :authority AND auth_srid = :number;

-- name: parse_mask(wkt, srid)$
-- Return the mask, if it can be compared.
SELECT mask::text
FROM (SELECT ST_CurveToLine(ST_GeomFromText(:wkt, :srid)) AS mask) AS parsed
WHERE ST_Intersects(mask, ST_SetSRID(ST_MakePoint(0, 0), :srid)) IS NOT NULL;

-- name: find_next_srid(code, after)$
-- Return the next reference system of the polygons of a shard. The index has them in order.
SELECT min(ST_SRID(po_polygon)) FROM polygons WHERE sh_code = :code AND ST_SRID(po_polygon) > :after;

-- name: transform_mask(mask, srid)$
-- Return the mask in another reference system. Its edges get points, since straight lines become curves.
SELECT ST_Transform(CASE WHEN size > 0 THEN ST_Segmentize(mask, size / 25) ELSE mask END, :srid)::text
FROM (SELECT :mask::geometry AS mask) AS given
CROSS JOIN LATERAL (
    SELECT greatest(ST_XMax(mask) - ST_XMin(mask), ST_YMax(mask) - ST_YMin(mask)) AS size
) AS measured;

-- name: find_intersecting(code, srid, mask)
-- Return the paths and names of the polygons that intersect the mask.
SELECT DISTINCT po_hash::text, po_name
FROM polygons
WHERE sh_code = :code AND ST_SRID(po_polygon) = :srid AND ST_Intersects(po_polygon, :mask::geometry);

-- name: find_stations(code, mask)
-- Return the places of stations that intersect the mask, which is in degrees.
SELECT DISTINCT longitude, latitude
FROM stations
WHERE sh_code = :code AND ST_Intersects(ST_SetSRID(ST_MakePoint(longitude, latitude), 4326), :mask::geometry);
