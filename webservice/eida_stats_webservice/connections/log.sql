-- Read the log of what was received.

-- name: log_by_creation(start, stop)
-- Return what was received from one time to another.
SELECT nodes.name, sensor_log.id, created, recorded, sensor, event, direction, source, position, session, connected,
    port, protocol, details, node_id
FROM sensor_log JOIN nodes ON nodes.id = node_id
WHERE created >= :start AND created < :stop ORDER BY created, sensor_log.id;

-- name: log_of_node(node_id, start, stop)
-- Return what was received from a node from one time to another.
SELECT nodes.name, sensor_log.id, created, recorded, sensor, event, direction, source, position, session, connected,
    port, protocol, details, node_id
FROM sensor_log JOIN nodes ON nodes.id = node_id
WHERE node_id = :node_id AND created >= :start AND created < :stop ORDER BY created, sensor_log.id;

-- name: log_by_time(start, stop)
-- Return the events of one time to another.
SELECT nodes.name, sensor_log.id, created, recorded, sensor, event, direction, source, position, session, connected,
    port, protocol, details, node_id
FROM sensor_log JOIN nodes ON nodes.id = node_id
WHERE recorded >= :start AND recorded < :stop ORDER BY created, sensor_log.id;

-- name: listed_before(node_id, sensor, id)$
-- Return the last snapshot with sessions that was received before a row of the log.
SELECT details FROM sensor_log
WHERE node_id = :node_id AND sensor = :sensor AND event = 'snapshot' AND details <> '{}' AND id < :id
ORDER BY id DESC LIMIT 1;
