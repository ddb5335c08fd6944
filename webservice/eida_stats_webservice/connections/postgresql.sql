-- Live connections: statements for PostgreSQL.

-- name: lock_node(node_id)^
-- Lock the events of a node, but not its payloads.
SELECT pg_advisory_xact_lock(hashtext('connections'), :node_id);

-- name: load_log()!
-- Load what was received.
COPY sensor_log (
    created, recorded, node_id, sensor, event, direction, source, position, session, connected, port, protocol, details
) FROM STDIN;

-- name: load_events()!
-- Load events.
COPY sensor_events (sensor_id, recorded, source, position, direction, cause, placed, session, protocol) FROM STDIN;

-- name: load_sessions()!
-- Load new sessions.
COPY sessions (sensor_id, session, number, address, port, connected, closed_at, closed_by, protocol) FROM STDIN;

-- name: rows_of_sessions(sensor_id, sessions)
-- Return some sessions. In a list of SQL, each of thousands would be parsed as an expression.
SELECT session, number, address, port, connected, closed_at, closed_by, protocol
FROM sessions
WHERE sensor_id = :sensor_id AND session = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:sessions AS jsonb))))
ORDER BY session, number;

-- name: protocols_of_sessions(sensor_id, sessions)
-- Return the protocols that commands have shown.
SELECT session, protocol FROM session_protocols
WHERE sensor_id = :sensor_id AND session = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:sessions AS jsonb))));

-- name: put_sessions(rows)!
-- Change some sessions. Each row has a sensor, a session, its number, and the new values.
UPDATE sessions SET address = value ->> 3, closed_at = CAST(value ->> 4 AS timestamptz), closed_by = value ->> 5,
    protocol = value ->> 6
FROM jsonb_array_elements(CAST(:rows AS jsonb))
WHERE sensor_id = CAST(value ->> 0 AS integer) AND session = value ->> 1 AND number = CAST(value ->> 2 AS integer);

-- name: has_rights()$
-- Return whether the role has the privileges of the service. An older schema lacks the tables; this is reported as a
-- missing migration.
SELECT bool_and(COALESCE(has_table_privilege(to_regclass(name), privilege), true))
    AND COALESCE(has_function_privilege(to_regprocedure('spaces_count_present(text)'), 'EXECUTE'), true)
    AND COALESCE(has_function_privilege(to_regprocedure('spaces_find_present(integer)'), 'EXECUTE'), true)
FROM (VALUES
    ('spaces', 'SELECT'), ('spaces', 'INSERT'), ('sensors', 'INSERT'), ('installations', 'INSERT'),
    ('sensor_log', 'INSERT'), ('sensor_events', 'DELETE'), ('sessions', 'UPDATE'), ('session_listings', 'UPDATE'),
    ('session_protocols', 'UPDATE'), ('sensor_states', 'UPDATE'), ('space_hours', 'UPDATE'),
    ('space_days', 'UPDATE'), ('space_count', 'INSERT'), ('recounts', 'SELECT'), ('connections_archived', 'SELECT')
) AS needed (name, privilege);

-- name: events_between(spaces, start, stop)
-- Return the events of some spaces in their order: time, and the change of the count. A door between two of the spaces
-- changes nothing. OFFSET 0 keeps the bounds in the index condition of each sensor.
SELECT recorded, sum(orientation * direction)
FROM installations
CROSS JOIN LATERAL (
    SELECT recorded, source, position, direction FROM sensor_events
    WHERE sensor_events.sensor_id = installations.sensor_id AND recorded >= :start AND recorded < :stop
        AND recorded >= installed_at AND (removed_at IS NULL OR recorded < removed_at)
    OFFSET 0
) AS events
WHERE space_id IN :spaces
GROUP BY sensor_id, recorded, source, position
ORDER BY recorded, sensor_id, source, position;

-- name: lock_reconciliation()^
-- Wait for another reconciliation.
SELECT pg_advisory_xact_lock(hashtext('connections'), -1);

-- name: compute_hours(windows)!
-- Compute the sums and the extremes of all hours in some windows of spaces, which are whole hours, from the events. A
-- sensor between two spaces is one step, or none, for a space that contains both, so its installations are added up for
-- each stretch of time without a move. LATERAL with OFFSET 0 looks up each sensor of a window once, with its bounds as
-- conditions of the index of events. The events of each window are sorted for themselves, and by time first: a sort that
-- begins with the space compares complete rows.
WITH RECURSIVE wanted (space_id, start, stop) AS MATERIALIZED (
    SELECT CAST(value ->> 0 AS integer), CAST(value ->> 1 AS timestamptz), CAST(value ->> 2 AS timestamptz)
    FROM jsonb_array_elements(CAST(:windows AS jsonb))
), below (top_id, space_id) AS (
    SELECT DISTINCT space_id, space_id FROM wanted
    UNION
    SELECT top_id, spaces.id FROM below JOIN spaces ON parent_id = below.space_id
), installed (top_id, sensor_id, orientation, start, stop) AS MATERIALIZED (
    SELECT top_id, sensor_id, orientation, installed_at, coalesce(removed_at, 'infinity')
    FROM below JOIN installations USING (space_id)
), moves (top_id, sensor_id, moment) AS (
    SELECT top_id, sensor_id, start FROM installed UNION SELECT top_id, sensor_id, stop FROM installed
), stretches (top_id, sensor_id, start, stop) AS (
    SELECT top_id, sensor_id, moment, lead(moment) OVER (PARTITION BY top_id, sensor_id ORDER BY moment) FROM moves
), placed (top_id, sensor_id, start, stop, orientation) AS MATERIALIZED (
    SELECT top_id, sensor_id, stretches.start, stretches.stop, CAST(sum(orientation) AS integer)
    FROM stretches JOIN installed USING (top_id, sensor_id)
    WHERE installed.start <= stretches.start AND stretches.stop <= installed.stop
    GROUP BY top_id, sensor_id, stretches.start, stretches.stop
), parts AS (
    -- Levels are relative to the start of the window.
    SELECT space_id, wanted.start, hour, entries, exits, lowest, highest
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT hour, sum(greatest(step, 0)) AS entries, -sum(least(step, 0)) AS exits, min(level) AS lowest,
            max(level) AS highest
        FROM (
            SELECT date_bin('1 hour', recorded, '2000-01-01') AS hour, step, sum(step) OVER (
                ORDER BY recorded, sensor_id, source, position ROWS UNBOUNDED PRECEDING
            ) AS level
            FROM placed
            CROSS JOIN LATERAL (
                SELECT recorded, source, position, direction * orientation AS step FROM sensor_events
                WHERE sensor_events.sensor_id = placed.sensor_id
                    AND recorded >= greatest(wanted.start, placed.start) AND recorded < least(wanted.stop, placed.stop)
                OFFSET 0
            ) AS events
            WHERE top_id = wanted.space_id
        ) AS levels
        GROUP BY hour
    ) AS hours
), hours AS (
    SELECT space_id, hour, entries, exits, lowest - before AS lowest, highest - before AS highest
    FROM (
        SELECT *, sum(entries - exits) OVER (PARTITION BY space_id, start ORDER BY hour) - (entries - exits) AS before
        FROM parts
    ) AS levels
    UNION ALL
    -- Each hour begins at 0, and may have lost its last event.
    SELECT space_id, hour, 0, 0, 0, 0
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT hour FROM space_hours
        WHERE space_hours.space_id = wanted.space_id AND hour >= start AND hour < stop
        OFFSET 0
    ) AS stored
)
INSERT INTO space_hours AS stored (space_id, hour, entries, exits, lowest, highest, stale)
SELECT space_id, hour, sum(entries), sum(exits), least(min(lowest), 0), greatest(max(highest), 0), false
FROM hours GROUP BY space_id, hour
ON CONFLICT (space_id, hour) DO UPDATE SET entries = excluded.entries, exits = excluded.exits,
    lowest = excluded.lowest, highest = excluded.highest, stale = false
WHERE (stored.entries, stored.exits, stored.lowest, stored.highest, stored.stale)
    <> (excluded.entries, excluded.exits, excluded.lowest, excluded.highest, false);

-- name: add_up_days(spaces, first, last)!
-- Compute the sums of some days from those of their hours. A day may have lost its last hour.
INSERT INTO space_days AS stored (space_id, day, entries, exits)
SELECT space_id, day, sum(entries), sum(exits)
FROM (
    SELECT space_id, CAST(hour AS date) AS day, entries, exits FROM space_hours
    WHERE space_id IN :spaces AND hour >= :first AND hour < CAST(:last AS date) + 1
    UNION ALL
    SELECT space_id, day, 0, 0 FROM space_days WHERE space_id IN :spaces AND day BETWEEN :first AND :last
) AS parts
GROUP BY space_id, day
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
    SELECT node_id, sensor, one ->> 'session', 'listed', listed_at, '', coalesce(CAST(one ->> 'count' AS bigint), 1),
        CAST(one ->> 'connected' AS timestamptz), CAST(one ->> 'port' AS integer), NULL
    FROM stretches, jsonb_array_elements(CAST(details AS jsonb) -> 'sessions') AS one
)
SELECT sensors.id, session, event, recorded, source, position, connected, port, protocol
FROM facts
JOIN nodes ON nodes.id = node_id
JOIN sensors ON sensors.node_id = facts.node_id AND sensors.name = nodes.name || '/' || sensor
ORDER BY sensors.id, session COLLATE "C", source, position;

-- name: present_count(name)
-- Return all that decides the present count of a space: its node, whether only this node may see it, its net entries, and
-- whether it has had an event, recounts, and ringservers, of its own or below.
SELECT node_id, restricted, net, is_known, has_recounts, has_ringservers FROM spaces_count_present(:name);

-- name: present_states(name, spaces)
-- Return the present states of the space with a name, and of some others: each space, its net entries, null without any
-- event, the time of the last recount, when its ringservers were heard of, the one that is silent for longest first, how
-- many open sessions nothing confirms, and the time of the last event.
SELECT id, name, parent_id, node_id, capacity, restricted, net, recounted, first_heard, last_heard, unconfirmed, changed
FROM spaces CROSS JOIN LATERAL spaces_find_present(id)
WHERE lower(name) = lower(:name) OR id IN :spaces;
