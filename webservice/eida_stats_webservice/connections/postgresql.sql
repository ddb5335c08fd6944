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

-- name: has_rights()$
-- Return whether the role has the privileges of the service. An older schema lacks the tables; this is reported as a
-- missing migration.
SELECT bool_and(COALESCE(has_table_privilege(to_regclass(name), privilege), true))
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
