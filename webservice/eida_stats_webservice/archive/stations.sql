-- Stations, for both databases.

-- name: delete_stations(code)!
DELETE FROM stations WHERE sh_code = :code;

-- name: find_in_box(code, west, south, east, north)
-- Return the epochs in a box. It crosses the 180th meridian if west is above east.
SELECT network, station, location, channel, first, last, latitude, longitude
FROM stations
WHERE sh_code = :code AND latitude BETWEEN :south AND :north
    AND CASE WHEN :west <= :east THEN longitude BETWEEN :west AND :east
        ELSE longitude >= :west OR longitude <= :east END
ORDER BY network, station, location, channel, first;
