-- Reconcile live connections: what ingestion leaves for later. Times are in UTC.

-- name: stale_hours(spaces)
-- Return the stale hours of some spaces by time, with the number of their events.
SELECT space_id, hour, entries + exits FROM space_hours WHERE stale AND space_id IN :spaces ORDER BY hour, space_id;

-- name: widen_hours(spaces, before)!
-- Let the extremes of archived hours contain their net change, since their events are gone.
UPDATE space_hours SET stale = false,
    lowest = CASE WHEN entries - exits < lowest THEN entries - exits ELSE lowest END,
    highest = CASE WHEN entries - exits > highest THEN entries - exits ELSE highest END
WHERE stale AND space_id IN :spaces AND hour < :before;

-- name: sum_archived_hours(space_id, stored, before)!
-- Add up archived stale hours of a space above the nodes from those of the spaces of nodes.
UPDATE space_hours SET
    entries = (SELECT coalesce(sum(entries), 0) FROM space_hours AS part
        WHERE part.space_id IN :stored AND part.hour = space_hours.hour),
    exits = (SELECT coalesce(sum(exits), 0) FROM space_hours AS part
        WHERE part.space_id IN :stored AND part.hour = space_hours.hour)
WHERE stale AND space_id = :space_id AND hour < :before;

-- name: sensors_with_open_sessions(node_id)
-- Return the ringservers of a node that have open sessions.
SELECT id, name, node_id, kind, open FROM sensors
WHERE node_id = :node_id AND kind = 'ringserver'
    AND EXISTS (SELECT 1 FROM sessions WHERE sensor_id = sensors.id AND closed_at IS NULL)
ORDER BY id;

-- name: open_sessions(sensor_id, moment)
-- Return the open sessions that connected up to a moment.
SELECT DISTINCT session FROM sessions
WHERE sensor_id = :sensor_id AND closed_at IS NULL AND connected <= :moment ORDER BY session;

-- name: has_old_addresses(node_id, moment)$
-- Return whether a node has hashes of addresses whose sessions have ended before a moment.
SELECT EXISTS (
    SELECT 1 FROM sessions JOIN sensors ON sensors.id = sensor_id
    WHERE address IS NOT NULL AND closed_at < :moment AND node_id = :node_id
);

-- name: drop_addresses(node_id, moment)!
-- Drop the hashes of addresses of a node whose sessions have ended before a moment.
UPDATE sessions SET address = NULL
WHERE address IS NOT NULL AND closed_at < :moment AND sensor_id IN (SELECT id FROM sensors WHERE node_id = :node_id);

-- name: event_bounds(start)^
-- Return the times of the first and the last event from a time on.
SELECT min((SELECT min(recorded) FROM sensor_events WHERE sensor_id = sensors.id AND recorded >= :start)),
    max((SELECT max(recorded) FROM sensor_events WHERE sensor_id = sensors.id AND recorded >= :start))
FROM sensors;

-- name: hour_bounds(start)^
-- Return the first and the last hour of all sums from a time on.
SELECT min(hour), max(hour) FROM space_hours WHERE hour >= :start;

-- name: sizes_of_hours(spaces, start)
-- Return the hours of some spaces from a time on, with the number of their events.
SELECT hour, sum(entries + exits) FROM space_hours
WHERE space_id IN :spaces AND hour >= :start GROUP BY hour ORDER BY hour;
