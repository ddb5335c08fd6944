-- Spans of timelines. All rows have the same columns; the last is the number of rows, at most `most`. For SQLite, which compares times as texts.

-- name: prefer_indexes()$
-- Do nothing: SQLite has no such setting.
SELECT 1;

-- name: select_spans(code, networks, station_first, station_last, station_regex, location_first, location_last, location_regex, channel_first, channel_last, channel_regex, quality_regex, start, end, most)
-- Return the spans of a shard in a window, by channel.
SELECT found.*, count(*) OVER () FROM (
    SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_updated,
        1 AS spans
    FROM timeline
    WHERE sh_code = :code AND tl_network IN (SELECT value FROM json_each(:networks))
        AND tl_station BETWEEN :station_first AND :station_last
        AND (:station_regex IS NULL OR regexp_like(tl_station, :station_regex))
        AND tl_location BETWEEN :location_first AND :location_last
        AND (:location_regex IS NULL OR regexp_like(tl_location, :location_regex))
        AND tl_channel BETWEEN :channel_first AND :channel_last
        AND (:channel_regex IS NULL OR regexp_like(tl_channel, :channel_regex))
        AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
        AND (:start IS NULL OR tl_end >= :start) AND (:end IS NULL OR tl_start <= :end)
    ORDER BY tl_network, tl_station, tl_location, tl_channel
    LIMIT :most
) AS found
ORDER BY tl_network, tl_station, tl_location, tl_channel;

-- name: select_extents(code, networks, station_first, station_last, station_regex, location_first, location_last, location_regex, channel_first, channel_last, channel_regex, quality_regex, start, end)
-- Return the first and the last time of the spans of a channel, quality and rate, and their number.
SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, min(tl_start), max(tl_end), max(tl_updated),
    count(*), 0
FROM timeline
WHERE sh_code = :code AND tl_network IN (SELECT value FROM json_each(:networks))
    AND tl_station BETWEEN :station_first AND :station_last
    AND (:station_regex IS NULL OR regexp_like(tl_station, :station_regex))
    AND tl_location BETWEEN :location_first AND :location_last
    AND (:location_regex IS NULL OR regexp_like(tl_location, :location_regex))
    AND tl_channel BETWEEN :channel_first AND :channel_last
    AND (:channel_regex IS NULL OR regexp_like(tl_channel, :channel_regex))
    AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
    AND (:start IS NULL OR tl_end >= :start) AND (:end IS NULL OR tl_start <= :end)
GROUP BY tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate
ORDER BY tl_network, tl_station, tl_location, tl_channel;

-- name: select_spans_of_lines(code, lines, quality_regex, most)
-- Return the spans of a shard that lines select, with the number of the line, by channel and span. A span that several
-- lines select is there several times.
SELECT found.*, count(*) OVER () FROM (
    SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, tl_start, tl_end, tl_updated,
        line.value ->> 'number' AS number
    FROM json_each(:lines) AS line
    CROSS JOIN timeline ON tl_network IN (SELECT value FROM json_each(line.value ->> 'networks'))
        AND tl_station BETWEEN line.value ->> 'station_first' AND line.value ->> 'station_last'
        AND (line.value ->> 'station_regex' IS NULL OR regexp_like(tl_station, line.value ->> 'station_regex'))
        AND tl_location BETWEEN line.value ->> 'location_first' AND line.value ->> 'location_last'
        AND (line.value ->> 'location_regex' IS NULL OR regexp_like(tl_location, line.value ->> 'location_regex'))
        AND tl_channel BETWEEN line.value ->> 'channel_first' AND line.value ->> 'channel_last'
        AND (line.value ->> 'channel_regex' IS NULL OR regexp_like(tl_channel, line.value ->> 'channel_regex'))
        AND tl_start <= line.value ->> 'last' AND tl_end >= line.value ->> 'first'
    WHERE sh_code = :code
        AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
    ORDER BY tl_network, tl_station, tl_location, tl_channel, tl_start, tl_end, tl_quality, tl_rate,
        tl_updated, number
    LIMIT :most
) AS found
ORDER BY tl_network, tl_station, tl_location, tl_channel, tl_start, tl_end, tl_quality, tl_rate,
    tl_updated, number;
