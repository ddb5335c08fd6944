-- Archive live connections. Times are in UTC.

-- name: first_recorded(stop)$
-- Return the time of the first event before a time.
SELECT min(recorded) FROM sensor_log WHERE recorded < :stop;

-- name: count_recent(since, start, stop)$
-- Return how many events of a month were received since a time.
SELECT count(*) FROM sensor_log WHERE created >= :since AND recorded >= :start AND recorded < :stop;

-- name: has_stale_hours(stop)$
-- Return whether an hour before a time is stale.
SELECT EXISTS (SELECT 1 FROM space_hours WHERE stale AND hour < :stop);

-- name: keep_events_from(day)!
-- Refuse events of earlier days from now on. The day never goes back.
UPDATE connections_archived SET events_from = :day WHERE events_from < :day;

-- name: set_level(space_id, recorded, level)!
-- Record the net entries of a space up to a recount, since the events before it are archived.
UPDATE recounts SET level = :level WHERE space_id = :space_id AND recorded = :recorded;

-- name: list_sensor_ids(node_id)
-- Return the sensors of a node.
SELECT id FROM sensors WHERE node_id = :node_id ORDER BY id;

-- name: delete_counts(sensor_id, before, most)!
-- Delete about so many events of a door before a time. Those that were not counted stay, so that they are noticed.
DELETE FROM sensor_events
WHERE sensor_id = :sensor_id AND session IS NULL AND placed AND recorded < coalesce((
    SELECT recorded FROM sensor_events
    WHERE sensor_id = :sensor_id AND recorded < :before AND session IS NULL AND placed
    ORDER BY recorded LIMIT 1 OFFSET :most
), :before);

-- name: delete_sessions(sensor_id, before, most)!
-- Delete the events of sessions that have ended before a time. Those of a group are deleted together, or kept.
DELETE FROM sensor_events
WHERE sensor_id = :sensor_id AND session IN (
    SELECT session FROM sensor_events AS old
    WHERE sensor_id = :sensor_id AND recorded < :before AND session IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE sessions.sensor_id = :sensor_id AND sessions.session = old.session
            AND (closed_at IS NULL OR closed_at >= :before)
    )
    LIMIT :most
);

-- name: bounds_of_log(before)^
-- Return when the first and the last row of the log before a time were received.
SELECT min(created), max(created) FROM sensor_log WHERE recorded < :before;

-- name: snapshots_to_keep(before)
-- Return the snapshots that later ones refer to, and the newest of each ringserver.
SELECT max(id) FROM sensor_log
WHERE event = 'snapshot' AND details <> '{}' AND recorded < :before GROUP BY node_id, sensor
UNION
SELECT max(sensor_log.id) FROM sensor_log
JOIN (
    SELECT node_id, sensor, max(recorded) AS newest FROM sensor_log WHERE event = 'snapshot' GROUP BY node_id, sensor
) AS servers
ON servers.node_id = sensor_log.node_id AND servers.sensor = sensor_log.sensor AND newest = recorded
WHERE event = 'snapshot' GROUP BY sensor_log.node_id, sensor_log.sensor;

-- name: delete_log(start, stop, before, kept)!
-- Delete the rows of the log before a time that were received in a window. Statements, snapshots that have ended a
-- session, the lines of sessions that are open or have ended later, and events that were not counted stay.
DELETE FROM sensor_log
WHERE created >= :start AND created < :stop AND recorded < :before AND event NOT IN ('server_start', 'close_after')
    AND (session IS NULL OR NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE sessions.session = sensor_log.session AND (closed_at IS NULL OR closed_at >= :before)
    ))
    AND (event <> 'count' OR NOT EXISTS (
        SELECT 1 FROM sensor_events JOIN sensors ON sensors.id = sensor_id
        WHERE NOT placed AND sensor_events.recorded = sensor_log.recorded AND sensors.node_id = sensor_log.node_id
            AND name = sensor
    ))
    AND (event <> 'snapshot' OR NOT (id IN :kept OR EXISTS (
        SELECT 1 FROM sessions JOIN sensors ON sensors.id = sensor_id
        WHERE sensors.node_id = sensor_log.node_id AND closed_by = 'snapshot' AND closed_at = sensor_log.recorded
    )));
