-- Spaces, sensors and their installations, as the administrator changes them. Times are in UTC.

-- name: put_recount(space_id, recorded, count, author, created)!
-- State the count of a space. A second one for the same time replaces the first.
INSERT INTO recounts (space_id, recorded, count, author, created)
VALUES (:space_id, :recorded, :count, :author, :created)
ON CONFLICT (space_id, recorded) DO UPDATE SET count = excluded.count, author = excluded.author,
    created = excluded.created;

-- name: set_capacity(space_id, capacity)!
-- Set the capacity of a space.
UPDATE spaces SET capacity = :capacity WHERE id = :space_id;

-- name: rename_sensors(node_id, old_name, new_name)!
-- Rename the ringservers of a node, which begin with its name.
UPDATE sensors SET name = :new_name || substr(name, length(:old_name) + 1)
WHERE node_id = :node_id AND kind = 'ringserver' AND substr(name, 1, length(:old_name) + 1) = :old_name || '/';

-- name: rename_spaces(node_id, old_name, new_name)!
-- Rename the space of a node, and those of its ringservers.
UPDATE spaces SET name = :new_name || substr(name, length(:old_name) + 1)
WHERE node_id = :node_id AND (
    lower(name) = lower(:old_name) OR lower(substr(name, 1, length(:old_name) + 1)) = lower(:old_name) || '/'
);

-- name: list_all_sensors()
-- Return all sensors with the number of events that count no space.
SELECT sensors.id, sensors.name, nodes.name AS node, kind, open, (
    SELECT count(*) FROM sensor_events WHERE sensor_id = sensors.id AND NOT placed
) AS unplaced
FROM sensors JOIN nodes ON nodes.id = node_id ORDER BY sensors.name, nodes.name;

-- name: adopt_sensor(sensor_id, open)!
-- Let a sensor that was unknown be a door, or change whether it needs a token.
UPDATE sensors SET kind = 'door', open = :open WHERE id = :sensor_id;

-- name: delete_installation(sensor_id, space_id, installed_at)!
-- Delete an installation, which another one replaces.
DELETE FROM installations
WHERE sensor_id = :sensor_id AND space_id = :space_id AND installed_at = :installed_at;

-- name: events_since(sensor_id, start)
-- Return the events of a sensor from a time on.
SELECT recorded, source, position, direction, cause FROM sensor_events
WHERE sensor_id = :sensor_id AND recorded >= :start ORDER BY recorded, source, position;

-- name: place_events(sensor_id, start)!
-- Record which events of a sensor from a time on count a space.
UPDATE sensor_events SET placed = NOT placed
WHERE sensor_id = :sensor_id AND recorded >= :start AND placed <> EXISTS (
    SELECT 1 FROM installations
    WHERE installations.sensor_id = sensor_events.sensor_id AND installed_at <= recorded
        AND (removed_at IS NULL OR recorded < removed_at)
);

-- name: update_space(space_id, capacity, restricted)!
-- Change the capacity of a space, and whether it is restricted; null keeps it.
UPDATE spaces SET capacity = coalesce(:capacity, capacity), restricted = coalesce(:restricted, restricted)
WHERE id = :space_id;
