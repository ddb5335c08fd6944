-- Live connections: statements for SQLite.

-- name: lock_node(node_id)^
-- Do nothing: a writer has locked the whole database.
SELECT :node_id;

-- name: load_log(created, recorded, node_id, sensor, event, direction, source, position, session, connected, port, protocol, details)*!
-- Load what was received.
INSERT INTO sensor_log (
    created, recorded, node_id, sensor, event, direction, source, position, session, connected, port, protocol, details
) VALUES (
    :created, :recorded, :node_id, :sensor, :event, :direction, :source, :position, :session, :connected, :port,
    :protocol, :details
);

-- name: load_events(sensor_id, recorded, source, position, direction, cause, placed, session, protocol)*!
-- Load events.
INSERT INTO sensor_events (sensor_id, recorded, source, position, direction, cause, placed, session, protocol)
VALUES (:sensor_id, :recorded, :source, :position, :direction, :cause, :placed, :session, :protocol);

-- name: load_sessions(sensor_id, session, number, address, port, connected, closed_at, closed_by, protocol)*!
-- Load new sessions.
INSERT INTO sessions (sensor_id, session, number, address, port, connected, closed_at, closed_by, protocol)
VALUES (:sensor_id, :session, :number, :address, :port, :connected, :closed_at, :closed_by, :protocol);

-- name: rows_of_sessions(sensor_id, sessions)
-- Return some sessions.
SELECT session, number, address, port, connected, closed_at, closed_by, protocol
FROM sessions WHERE sensor_id = :sensor_id AND session IN (SELECT value FROM json_each(:sessions))
ORDER BY session, number;

-- name: protocols_of_sessions(sensor_id, sessions)
-- Return the protocols that commands have shown.
SELECT session, protocol FROM session_protocols
WHERE sensor_id = :sensor_id AND session IN (SELECT value FROM json_each(:sessions));

-- name: put_sessions(rows)!
-- Change some sessions. Each row has a sensor, a session, its number, and the new values. With the sensor as a parameter,
-- SQLite would read all its sessions and compare each with all rows.
UPDATE sessions SET address = json_extract(value, '$[3]'), closed_at = json_extract(value, '$[4]'),
    closed_by = json_extract(value, '$[5]'), protocol = json_extract(value, '$[6]')
FROM json_each(:rows)
WHERE sensor_id = json_extract(value, '$[0]') AND session = json_extract(value, '$[1]')
    AND number = json_extract(value, '$[2]');

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;

-- name: events_between(spaces, start, stop)
-- Return the events of some spaces in their order: time, and the change of the count. A door between two of the spaces
-- changes nothing. CROSS JOIN keeps the order of the tables.
SELECT recorded, sum(orientation * direction)
FROM installations
CROSS JOIN sensor_events ON sensor_events.sensor_id = installations.sensor_id
WHERE space_id IN (SELECT value FROM json_each(:spaces)) AND recorded >= :start AND recorded < :stop
    AND recorded >= installed_at AND (removed_at IS NULL OR recorded < removed_at)
GROUP BY sensor_events.sensor_id, recorded, source, position
ORDER BY recorded, sensor_events.sensor_id, source, position;

-- name: lock_reconciliation()^
-- Do nothing: a writer has locked the whole database.
SELECT 1;

-- name: compute_hours(windows)!
-- Compute the sums and the extremes of all hours in some windows of spaces, which are whole hours, from the events. A
-- sensor between two spaces is one step, or none, for a space that contains both. CROSS JOIN keeps the order of the
-- tables, so that the bounds of each window are conditions of the index of events. `total` is SQLite's own sum, unlike
-- `sum`, which is ours and knows no windows.
WITH RECURSIVE wanted (space_id, start, stop) AS MATERIALIZED (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
    FROM json_each(:windows)
), below (top_id, space_id) AS (
    SELECT DISTINCT space_id, space_id FROM wanted
    UNION
    SELECT top_id, spaces.id FROM below JOIN spaces ON parent_id = below.space_id
), steps AS (
    SELECT wanted.space_id, substr(recorded, 1, 13) || ':00:00.000000+00:00' AS hour, recorded,
        installations.sensor_id, source, position, CAST(total(direction * orientation) AS integer) AS step
    FROM wanted
    CROSS JOIN below ON below.top_id = wanted.space_id
    CROSS JOIN installations ON installations.space_id = below.space_id
    CROSS JOIN sensor_events ON sensor_events.sensor_id = installations.sensor_id
        AND recorded >= max(start, installed_at) AND recorded < min(stop, coalesce(removed_at, stop))
    GROUP BY wanted.space_id, hour, recorded, installations.sensor_id, source, position
), levels AS (
    SELECT space_id, hour, step, CAST(total(step) OVER (
        PARTITION BY space_id, hour ORDER BY recorded, sensor_id, source, position ROWS UNBOUNDED PRECEDING
    ) AS integer) AS level
    FROM steps
    UNION ALL
    -- Each hour begins at 0, and may have lost its last event.
    SELECT space_hours.space_id, hour, 0, 0 FROM wanted
    CROSS JOIN space_hours ON space_hours.space_id = wanted.space_id AND hour >= start AND hour < stop
)
INSERT INTO space_hours AS stored (space_id, hour, entries, exits, lowest, highest, stale)
SELECT space_id, hour, CAST(total(max(step, 0)) AS integer), CAST(total(max(-step, 0)) AS integer),
    min(min(level), 0), max(max(level), 0), false
FROM levels WHERE true GROUP BY space_id, hour
ON CONFLICT (space_id, hour) DO UPDATE SET entries = excluded.entries, exits = excluded.exits,
    lowest = excluded.lowest, highest = excluded.highest, stale = false
WHERE (stored.entries, stored.exits, stored.lowest, stored.highest, stored.stale)
    <> (excluded.entries, excluded.exits, excluded.lowest, excluded.highest, false);

-- name: add_up_days(spaces, first, last)!
-- Compute the sums of some days from those of their hours. A day may have lost its last hour.
INSERT INTO space_days AS stored (space_id, day, entries, exits)
SELECT space_id, day, sum(entries), sum(exits)
FROM (
    SELECT space_id, substr(hour, 1, 10) AS day, entries, exits FROM space_hours
    WHERE space_id IN (SELECT value FROM json_each(:spaces)) AND hour >= :first AND hour < date(:last, '+1 day')
    UNION ALL
    SELECT space_id, day, 0, 0 FROM space_days
    WHERE space_id IN (SELECT value FROM json_each(:spaces)) AND day BETWEEN :first AND :last
) AS parts
WHERE true GROUP BY space_id, day
ON CONFLICT (space_id, day) DO UPDATE SET entries = excluded.entries, exits = excluded.exits
WHERE (stored.entries, stored.exits) <> (excluded.entries, excluded.exits);

-- name: list_facts()
-- Return what the log has of the sessions of ringservers: connects, disconnects, and the last time at which a snapshot
-- listed so many of them. A snapshot without sessions lists those of the one that was received before it.
WITH snapshots AS (
    SELECT node_id, sensor, recorded, details,
        count(*) FILTER (WHERE details <> '{}') OVER (PARTITION BY node_id, sensor ORDER BY id) AS stretch
    FROM sensor_log WHERE event = 'snapshot'
), stretches AS (
    SELECT node_id, sensor, max(recorded) AS listed_at, max(details) FILTER (WHERE details <> '{}') AS details
    FROM snapshots GROUP BY node_id, sensor, stretch
), facts AS (
    SELECT node_id, sensor, session, event, recorded, source, position, coalesce(connected, recorded) AS connected,
        port, protocol
    FROM sensor_log WHERE event IN ('connect', 'disconnect')
    UNION ALL
    SELECT node_id, sensor, json_extract(value, '$.session'), 'listed', listed_at, '',
        coalesce(json_extract(value, '$.count'), 1), json_extract(value, '$.connected'),
        json_extract(value, '$.port'), NULL
    FROM stretches, json_each(details, '$.sessions')
)
SELECT sensors.id, session, event, recorded, source, position, connected, port, protocol
FROM facts
JOIN nodes ON nodes.id = facts.node_id
JOIN sensors ON sensors.node_id = facts.node_id AND sensors.name = nodes.name || '/' || sensor
ORDER BY sensors.id, session, source, position;

-- name: present_count(name)
-- Return all that decides the present count of a space: its node, whether only this node may see it, its net entries, and
-- whether it has had an event, recounts, and ringservers, of its own or below.
WITH RECURSIVE top AS (
    SELECT id, node_id, restricted FROM spaces WHERE lower(name) = lower(:name)
), below (id, node_id, is_stored) AS (
    SELECT id, node_id, node_id IS NOT NULL FROM top
    UNION ALL
    SELECT spaces.id, spaces.node_id, spaces.node_id IS NOT NULL AND below.node_id IS NULL
    FROM below JOIN spaces ON spaces.parent_id = below.id
)
SELECT node_id, restricted,
    -- One index look-up for each space. As joins, these two would read the tables of sums completely.
    (
        SELECT coalesce(sum((SELECT sum(entries - exits) FROM space_days WHERE space_id = below.id)), 0)
        FROM below WHERE is_stored
    ),
    EXISTS (
        SELECT 1 FROM below
        WHERE is_stored AND (SELECT min(hour) FROM space_hours WHERE space_id = below.id) IS NOT NULL
    ),
    EXISTS (SELECT 1 FROM recounts WHERE space_id IN (SELECT id FROM below)),
    EXISTS (
        SELECT 1 FROM installations JOIN sensors ON sensors.id = sensor_id
        WHERE kind = 'ringserver' AND space_id IN (SELECT id FROM below)
    )
FROM top;

-- name: present_states(name, spaces)
-- Return the present states of the space with a name, and of some others: each space, its net entries, null without any
-- event, the time of the last recount, when its ringservers were heard of, the one that is silent for longest first, how
-- many open sessions nothing confirms, and the time of the last event.
WITH RECURSIVE below (top_id, space_id, node_id, is_stored) AS (
    SELECT id, id, node_id, node_id IS NOT NULL FROM spaces
    WHERE lower(name) = lower(:name) OR id IN (SELECT value FROM json_each(:spaces))
    UNION ALL
    SELECT top_id, spaces.id, spaces.node_id, spaces.node_id IS NOT NULL AND below.node_id IS NULL
    FROM below JOIN spaces ON spaces.parent_id = below.space_id
), parts AS MATERIALIZED (
    SELECT space_id,
        CASE WHEN sum(CASE WHEN is_stored THEN 1 ELSE 0 END) > 0
            AND (SELECT min(hour) FROM space_hours WHERE space_hours.space_id = below.space_id) IS NOT NULL
        THEN (
            SELECT coalesce(sum(entries - exits), 0) FROM space_days WHERE space_days.space_id = below.space_id
        ) END AS net,
        (SELECT max(recorded) FROM recounts WHERE recounts.space_id = below.space_id) AS recounted
    FROM below GROUP BY space_id
), counted AS (
    SELECT top_id, sum(CASE WHEN is_stored THEN net END) AS net, max(recounted) AS recounted
    FROM below JOIN parts USING (space_id) GROUP BY top_id
), installed AS MATERIALIZED (
    SELECT space_id,
        CASE WHEN removed_at IS NULL THEN heard_at END AS heard_at,
        CASE WHEN unconfirmed AND removed_at IS NULL THEN (
            SELECT count(*) FROM sessions WHERE sessions.sensor_id = installations.sensor_id AND closed_at IS NULL
        ) ELSE 0 END AS unconfirmed,
        (
            SELECT max(recorded) FROM sensor_events
            WHERE sensor_events.sensor_id = installations.sensor_id AND recorded >= installed_at
                AND (removed_at IS NULL OR recorded < removed_at)
        ) AS changed
    FROM installations LEFT JOIN sensor_states USING (sensor_id)
    WHERE space_id IN (SELECT space_id FROM parts)
), sensed AS (
    SELECT top_id, min(heard_at) AS first_heard, max(heard_at) AS last_heard, sum(unconfirmed) AS unconfirmed,
        max(changed) AS changed
    FROM below JOIN installed USING (space_id) GROUP BY top_id
)
SELECT id, name, parent_id, node_id, capacity, restricted, net, recounted, first_heard, last_heard, unconfirmed, changed
FROM counted JOIN spaces ON spaces.id = top_id LEFT JOIN sensed USING (top_id);
