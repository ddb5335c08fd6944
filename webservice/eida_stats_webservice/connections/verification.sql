-- Verify live connections. All rows are ordered, so that two lists can be compared while they are read.

-- name: list_sensors_of_nodes()
-- Return all sensors with the names of their nodes.
SELECT sensors.id, sensors.name, node_id, kind, open, nodes.name AS node
FROM sensors JOIN nodes ON nodes.id = node_id ORDER BY sensors.id;

-- name: counts_in_log(start)
-- Return what the log has of doors from a time on, each event once.
SELECT DISTINCT sensors.id, recorded, direction
FROM sensor_log JOIN sensors ON sensors.node_id = sensor_log.node_id AND sensors.name = sensor AND kind <> 'ringserver'
WHERE event = 'count' AND recorded >= :start
ORDER BY sensors.id, recorded, direction;

-- name: stored_counts(start)
-- Return the events of doors from a time on.
SELECT sensor_id, recorded, position, direction, placed FROM sensor_events
WHERE session IS NULL AND recorded >= :start ORDER BY sensor_id, recorded, position;

-- name: stored_events()
-- Return the events of all sessions.
SELECT sensor_id, session, recorded, source, position, direction, cause, placed, protocol FROM sensor_events
WHERE session IS NOT NULL ORDER BY sensor_id, session, recorded, source, position;

-- name: stored_sessions()
-- Return all sessions.
SELECT sensor_id, session, number, closed_at, closed_by, protocol, connected FROM sessions
ORDER BY sensor_id, session, number;

-- name: events_in_order(start)
-- Return all events from a time on in the order in which they count.
SELECT sensor_id, recorded, direction FROM sensor_events
WHERE recorded >= :start ORDER BY recorded, sensor_id, source, position;

-- name: stored_hours(start)
-- Return the sums of hours from a time on.
SELECT hour, space_id, entries, exits, lowest, highest, stale FROM space_hours
WHERE hour >= :start ORDER BY hour, space_id;

-- name: stored_days(start)
-- Return the sums of days from a day on, unless nothing has changed.
SELECT day, space_id, entries, exits FROM space_days
WHERE day >= :start AND entries + exits > 0 ORDER BY day, space_id;
