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
