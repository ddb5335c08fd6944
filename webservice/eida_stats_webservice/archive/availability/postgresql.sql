-- Spans of timelines. All rows have the same columns; the last is the number of rows, at most `most`. For PostgreSQL. The index on time has the ranges of the spans.

-- name: prefer_indexes()$
-- Let indexes be used, until the end of the transaction, as if all pages were in memory. Most of those in use are.
SELECT set_config('random_page_cost', '1.1', true);

-- name: select_spans(code, networks, station_first, station_last, station_regex, location_first, location_last, location_regex, channel_first, channel_last, channel_regex, quality_regex, start, end, most, is_foreign)
-- Return the spans of a shard in a window, by channel.
SELECT found.*, count(*) OVER () FROM (
    SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, CAST(tl_start AS text),
        CAST(tl_end AS text), CAST(tl_updated AS text),
        1 AS spans
    FROM timeline
    WHERE sh_code = :code AND tl_network IN :networks
        AND tl_station BETWEEN :station_first AND :station_last
        AND (:station_regex IS NULL OR regexp_like(tl_station, :station_regex))
        AND tl_location BETWEEN :location_first AND :location_last
        AND (:location_regex IS NULL OR regexp_like(tl_location, :location_regex))
        AND tl_channel BETWEEN :channel_first AND :channel_last
        AND (:channel_regex IS NULL OR regexp_like(tl_channel, :channel_regex))
        AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
        AND tstzrange(tl_start, tl_end, '[]') && tstzrange(:start, :end, '[]')
        -- The other server cannot use the condition above.
        AND (NOT :is_foreign OR (
            tl_start <= coalesce(:end::timestamptz, 'infinity') AND tl_end >= coalesce(:start::timestamptz, '-infinity')
        ))
    ORDER BY tl_network, tl_station, tl_location, tl_channel
    LIMIT :most
) AS found
ORDER BY tl_network, tl_station, tl_location, tl_channel;

-- name: select_extents(code, networks, station_first, station_last, station_regex, location_first, location_last, location_regex, channel_first, channel_last, channel_regex, quality_regex, start, end, is_foreign)
-- Return the first and the last time of the spans of a channel, quality and rate, and their number.
SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, CAST(min(tl_start) AS text),
    CAST(max(tl_end) AS text), CAST(max(tl_updated) AS text), count(*), 0
FROM timeline
WHERE sh_code = :code AND tl_network IN :networks
    AND tl_station BETWEEN :station_first AND :station_last
    AND (:station_regex IS NULL OR regexp_like(tl_station, :station_regex))
    AND tl_location BETWEEN :location_first AND :location_last
    AND (:location_regex IS NULL OR regexp_like(tl_location, :location_regex))
    AND tl_channel BETWEEN :channel_first AND :channel_last
    AND (:channel_regex IS NULL OR regexp_like(tl_channel, :channel_regex))
    AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
    AND tstzrange(tl_start, tl_end, '[]') && tstzrange(:start, :end, '[]')
    -- The other server cannot use the condition above.
    AND (NOT :is_foreign OR (
        tl_start <= coalesce(:end::timestamptz, 'infinity') AND tl_end >= coalesce(:start::timestamptz, '-infinity')
    ))
GROUP BY tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate
ORDER BY tl_network, tl_station, tl_location, tl_channel;

-- name: select_spans_of_lines(code, lines, quality_regex, most)
-- Return the spans of a shard that lines select, with the number of the line, by channel and span. A span that several
-- lines select is there several times.
SELECT found.*, count(*) OVER () FROM (
    SELECT tl_network, tl_station, tl_location, tl_channel, tl_quality, tl_rate, CAST(tl_start AS text),
        CAST(tl_end AS text), CAST(tl_updated AS text),
        line.number AS number
    FROM json_to_recordset(:lines) AS line (
            number integer, networks text[], station_first text, station_last text, station_regex text,
            location_first text, location_last text, location_regex text,
            channel_first text, channel_last text, channel_regex text, first timestamptz, last timestamptz
        )
    JOIN timeline ON tl_network = ANY (line.networks)
        AND tl_station BETWEEN line.station_first AND line.station_last
        AND (line.station_regex IS NULL OR regexp_like(tl_station, line.station_regex))
        AND tl_location BETWEEN line.location_first AND line.location_last
        AND (line.location_regex IS NULL OR regexp_like(tl_location, line.location_regex))
        AND tl_channel BETWEEN line.channel_first AND line.channel_last
        AND (line.channel_regex IS NULL OR regexp_like(tl_channel, line.channel_regex))
        AND tl_start <= line.last AND tl_end >= line.first
    WHERE sh_code = :code
        AND (:quality_regex IS NULL OR regexp_like(tl_quality, :quality_regex))
    ORDER BY tl_network, tl_station, tl_location, tl_channel, tl_start, tl_end, tl_quality, tl_rate,
        tl_updated, number
    LIMIT :most
) AS found
ORDER BY tl_network, tl_station, tl_location, tl_channel, tl_start, tl_end, tl_quality, tl_rate,
    tl_updated, number;
