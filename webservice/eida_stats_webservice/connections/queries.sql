-- Spaces, sensors, their events and what they add up to. Times are in UTC.

-- name: list_spaces()
-- Return all spaces.
SELECT id, name, parent_id, node_id, capacity, restricted FROM spaces ORDER BY id;

-- name: add_space(name, parent_id, node_id, capacity, restricted)$
-- Add a space.
INSERT INTO spaces (name, parent_id, node_id, capacity, restricted)
VALUES (:name, :parent_id, :node_id, :capacity, :restricted) RETURNING id;

-- name: list_sensors(names)
-- Return the sensors with some names. Several nodes may have an unknown sensor of one name.
SELECT id, name, node_id, kind, open FROM sensors WHERE name IN :names ORDER BY id;

-- name: add_sensor(name, node_id, kind, open)$
-- Add a sensor.
INSERT INTO sensors (name, node_id, kind, open) VALUES (:name, :node_id, :kind, :open) RETURNING id;

-- name: list_installations(sensors)
-- Return the installations of some sensors.
SELECT sensor_id, space_id, orientation, installed_at, removed_at, doorway
FROM installations WHERE sensor_id IN :sensors ORDER BY installed_at, id;

-- name: add_installation(sensor_id, space_id, doorway, orientation, installed_at, removed_at)!
-- Let a sensor count a space.
INSERT INTO installations (sensor_id, space_id, doorway, orientation, installed_at, removed_at)
VALUES (:sensor_id, :space_id, :doorway, :orientation, :installed_at, :removed_at);

-- name: find_archived()$
-- Return the first day of which events are kept, as text.
SELECT CAST(events_from AS text) FROM connections_archived;

-- name: events_in_file(source, first, last)
-- Return the logged events of a part of a log file.
SELECT position, sensor_id, recorded, direction, session, protocol
FROM sensor_events WHERE source = :source AND position BETWEEN :first AND :last AND cause = 'log';

-- name: events_at(sensor_id, times)
-- Return what a door has counted at some times.
SELECT recorded, position FROM sensor_events WHERE sensor_id = :sensor_id AND source = '' AND recorded IN :times;

-- name: events_of_sessions(sensor_id, sessions)
-- Return the events of some sessions. Each is at the beginning or at the end of one.
SELECT e.recorded, e.source, e.position, e.direction, e.cause, e.session, e.protocol
FROM (
    SELECT session, connected AS moment FROM sessions WHERE sensor_id = :sensor_id AND session IN :sessions
    UNION
    SELECT session, closed_at FROM sessions
    WHERE sensor_id = :sensor_id AND session IN :sessions AND closed_at IS NOT NULL
) AS known JOIN sensor_events e ON e.sensor_id = :sensor_id AND e.recorded = moment AND e.session = known.session;

-- name: unlogged_ends(sensor_id, moment)
-- Return the sessions that are open, or have ended from a moment on without a disconnect in the log.
SELECT DISTINCT session FROM sessions
WHERE sensor_id = :sensor_id AND (closed_at IS NULL OR (closed_at >= :moment AND closed_by <> 'log'));

-- name: listings_of_sessions(sensor_id, sessions)
-- Return when snapshots have listed some sessions last.
SELECT session, count, listed_at FROM session_listings WHERE sensor_id = :sensor_id AND session IN :sessions;

-- name: delete_event(sensor_id, recorded, source, position)*!
-- Delete an event that no log has.
DELETE FROM sensor_events
WHERE sensor_id = :sensor_id AND recorded = :recorded AND source = :source AND position = :position;

-- name: put_listing(sensor_id, session, count, listed_at)*!
-- Record that a snapshot lists a session.
INSERT INTO session_listings (sensor_id, session, count, listed_at)
VALUES (:sensor_id, :session, :count, :listed_at)
ON CONFLICT (sensor_id, session, count) DO UPDATE SET listed_at = excluded.listed_at
WHERE session_listings.listed_at < excluded.listed_at;

-- name: put_protocol(sensor_id, session, protocol)*!
-- Record the protocol that a command shows. Of several, the first in alphabetical order stays.
INSERT INTO session_protocols (sensor_id, session, protocol) VALUES (:sensor_id, :session, :protocol)
ON CONFLICT (sensor_id, session) DO UPDATE SET protocol = excluded.protocol
WHERE session_protocols.protocol > excluded.protocol;

-- name: statements_of(node_id, sensor, event)
-- Return the statements of a ringserver of one kind, by time.
SELECT recorded, details FROM sensor_log
WHERE node_id = :node_id AND sensor = :sensor AND event = :event ORDER BY recorded, id;

-- name: snapshot_after(node_id, sensor, moment)$
-- Return the time of the first snapshot after a moment.
SELECT min(recorded) FROM sensor_log
WHERE node_id = :node_id AND sensor = :sensor AND event = 'snapshot' AND recorded > :moment;

-- name: newest_snapshot(node_id, sensor)$
-- Return the time of the newest snapshot.
SELECT max(recorded) FROM sensor_log WHERE node_id = :node_id AND sensor = :sensor AND event = 'snapshot';

-- name: find_state(sensor_id)^
-- Return what is known of a ringserver.
SELECT heard_at, unconfirmed, snapshot FROM sensor_states WHERE sensor_id = :sensor_id;

-- name: put_state(sensor_id, heard_at, unconfirmed, snapshot)!
-- Record what is known of a ringserver. Null keeps the snapshot.
INSERT INTO sensor_states (sensor_id, heard_at, unconfirmed, snapshot)
VALUES (:sensor_id, :heard_at, :unconfirmed, :snapshot)
ON CONFLICT (sensor_id) DO UPDATE SET heard_at = excluded.heard_at, unconfirmed = excluded.unconfirmed,
    snapshot = coalesce(excluded.snapshot, sensor_states.snapshot);

-- name: add_to_hour(space_id, hour, entries, exits)*!
-- Add to the sums of an hour. Its lowest and highest counts are no longer right.
INSERT INTO space_hours (space_id, hour, entries, exits, stale) VALUES (:space_id, :hour, :entries, :exits, true)
ON CONFLICT (space_id, hour) DO UPDATE SET entries = space_hours.entries + excluded.entries,
    exits = space_hours.exits + excluded.exits, stale = true;

-- name: mark_hour(space_id, hour)*!
-- Mark an hour whose sums stay, but not the order of its events.
UPDATE space_hours SET stale = true WHERE space_id = :space_id AND hour = :hour;

-- name: add_to_day(space_id, day, entries, exits)*!
-- Add to the sums of a day.
INSERT INTO space_days (space_id, day, entries, exits) VALUES (:space_id, :day, :entries, :exits)
ON CONFLICT (space_id, day) DO UPDATE SET entries = space_days.entries + excluded.entries,
    exits = space_days.exits + excluded.exits;

-- name: add_shown(space_id, created, recorded, count)$
-- Record the count that is shown from now on. Return its number.
INSERT INTO space_count (space_id, created, recorded, count)
VALUES (:space_id, :created, :recorded, :count) RETURNING id;

-- name: recent_counts(most)
-- Return the counts that were shown last, the newest first.
SELECT space_count.id, name, created, recorded, count
FROM space_count JOIN spaces ON spaces.id = space_id ORDER BY space_count.id DESC LIMIT :most;

-- name: sum_of_days(spaces, before)$
-- Return the net entries of some spaces on the days before a day.
SELECT coalesce(sum(entries - exits), 0) FROM space_days WHERE space_id IN :spaces AND day < :before;

-- name: sum_of_hours(spaces, start, stop)$
-- Return the net entries of some spaces in the hours from one to another, which is not included.
SELECT coalesce(sum(entries - exits), 0) FROM space_hours
WHERE space_id IN :spaces AND hour >= :start AND hour < :stop;

-- name: sum_of_events(spaces, start, moment)$
-- Return the net entries of some spaces from a time to a moment, which is included. Each installation is a range of
-- the index of the events.
SELECT coalesce(sum(orientation * (
    SELECT coalesce(sum(direction), 0) FROM sensor_events
    WHERE sensor_events.sensor_id = installations.sensor_id
        AND recorded >= :start AND recorded <= :moment AND recorded >= installed_at
        AND (removed_at IS NULL OR recorded < removed_at)
)), 0)
FROM installations WHERE space_id IN :spaces AND installed_at <= :moment;

-- name: last_event(spaces, moment)$
-- Return the time of the last event of some spaces up to a moment.
SELECT max((
    SELECT max(recorded) FROM sensor_events
    WHERE sensor_events.sensor_id = installations.sensor_id AND recorded <= :moment AND recorded >= installed_at
        AND (removed_at IS NULL OR recorded < removed_at)
))
FROM installations WHERE space_id IN :spaces;

-- name: next_event(spaces, moment)$
-- Return the time of the first event of some spaces from a moment on.
SELECT min((
    SELECT min(recorded) FROM sensor_events
    WHERE sensor_events.sensor_id = installations.sensor_id AND recorded >= :moment AND recorded >= installed_at
        AND (removed_at IS NULL OR recorded < removed_at)
))
FROM installations WHERE space_id IN :spaces;

-- name: list_recounts(spaces)
-- Return the recounts of some spaces by time.
SELECT space_id, recorded, count, level FROM recounts WHERE space_id IN :spaces ORDER BY recorded, space_id;

-- name: has_sums(spaces)$
-- Return whether some spaces have had an event.
SELECT EXISTS (SELECT 1 FROM space_hours WHERE space_id IN :spaces);

-- name: ringserver_spaces()
-- Return the spaces of ringservers.
SELECT DISTINCT space_id FROM installations JOIN sensors ON sensors.id = sensor_id WHERE kind = 'ringserver';

-- name: last_hour(spaces, start, stop)$
-- Return the last hour with events of some spaces, from one hour to another, which is not included.
SELECT max(hour) FROM space_hours WHERE space_id IN :spaces AND hour >= :start AND hour < :stop;

-- name: is_stale(spaces, hour)$
-- Return whether the lowest and highest counts of an hour are not computed since its last event.
SELECT EXISTS (SELECT 1 FROM space_hours WHERE space_id IN :spaces AND hour = :hour AND stale);

-- name: shown_counts(spaces, moment)
-- Return the counts of some spaces that were shown at a moment.
SELECT space_id, recorded, count FROM space_count
WHERE id IN (
    SELECT (
        SELECT id FROM space_count WHERE space_id = spaces.id AND created <= :moment ORDER BY created DESC, id DESC
        LIMIT 1
    )
    FROM spaces WHERE spaces.id IN :spaces
);

-- name: sessions_at(spaces, protocol, moment)
-- Return how many sessions with a protocol were open at a moment, and the time of the last one to begin or end.
SELECT coalesce(sum(CASE WHEN closed_at IS NULL OR closed_at > :moment THEN 1 ELSE 0 END), 0),
    max(CASE WHEN closed_at <= :moment THEN closed_at ELSE connected END)
FROM sessions
WHERE sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
    AND lower(protocol) = lower(:protocol) AND connected <= :moment;

-- name: sessions_after(spaces, protocol, moment)$
-- Return the time at which the first session with a protocol begins or ends, from a moment on.
SELECT min(CASE WHEN connected >= :moment THEN connected ELSE closed_at END)
FROM sessions
WHERE sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
    AND lower(protocol) = lower(:protocol) AND (connected >= :moment OR closed_at >= :moment);

-- name: sums_of_hours(space_id, spaces, start, stop)
-- Return the changes of each hour: entries and exits of the spaces that add up to a space, whether the hour of one
-- of them is stale, and the same with the lowest and highest counts of the space itself, if reconciliation has found
-- these.
SELECT hour,
    sum(CASE WHEN space_id IN :spaces THEN entries ELSE 0 END),
    sum(CASE WHEN space_id IN :spaces THEN exits ELSE 0 END),
    max(CASE WHEN stale THEN 1 ELSE 0 END),
    max(CASE WHEN space_id = :space_id THEN entries END),
    max(CASE WHEN space_id = :space_id THEN exits END),
    min(CASE WHEN space_id = :space_id THEN lowest END),
    max(CASE WHEN space_id = :space_id THEN highest END)
FROM space_hours
WHERE (space_id IN :spaces OR space_id = :space_id) AND hour >= :start AND hour < :stop
GROUP BY hour ORDER BY hour;

-- name: sessions_between(spaces, protocol, start, stop)
-- Return the beginnings and ends of the sessions with a protocol in their order: time, and the change of the count.
SELECT connected AS recorded, 1 AS direction
FROM sessions
WHERE sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
    AND lower(protocol) = lower(:protocol) AND connected >= :start AND connected < :stop
UNION ALL
SELECT closed_at, -1
FROM sessions
WHERE sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
    AND lower(protocol) = lower(:protocol) AND closed_at >= :start AND closed_at < :stop
ORDER BY recorded, direction DESC;

-- name: sessions_of_node(node_id, spaces, protocol, start, stop, most)
-- Return the sessions of a node that overlap a window, at most so many. An empty protocol stands for all.
SELECT name, connected, closed_at, closed_by, protocol, session
FROM sessions JOIN sensors ON sensors.id = sensor_id
WHERE node_id = :node_id AND sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
    AND connected < :stop AND (closed_at IS NULL OR closed_at >= :start)
    AND (:protocol = '' OR lower(protocol) = lower(:protocol))
ORDER BY connected, name, session, number
LIMIT :most;

-- name: count_sessions_of_node(node_id, spaces, protocol, start, stop, most)$
-- Return how many sessions of a node overlap a window, at most so many.
SELECT count(*) FROM (
    SELECT 1
    FROM sessions JOIN sensors ON sensors.id = sensor_id
    WHERE node_id = :node_id AND sensor_id IN (SELECT sensor_id FROM installations WHERE space_id IN :spaces)
        AND connected < :stop AND (closed_at IS NULL OR closed_at >= :start)
        AND (:protocol = '' OR lower(protocol) = lower(:protocol))
    LIMIT :most
) AS found;

-- name: silent_times()
-- Return the times at which the ringservers of each node were heard of.
SELECT nodes.name, min(heard_at)
FROM sensor_states JOIN sensors ON sensors.id = sensor_id JOIN nodes ON nodes.id = sensors.node_id
GROUP BY nodes.name ORDER BY nodes.name;

-- name: open_sessions()
-- Return how many clients are connected to each node.
SELECT nodes.name, count(sessions.sensor_id)
FROM sensors JOIN nodes ON nodes.id = sensors.node_id
LEFT JOIN sessions ON sessions.sensor_id = sensors.id AND closed_at IS NULL
WHERE sensors.kind = 'ringserver'
GROUP BY nodes.name ORDER BY nodes.name;

-- name: count_stale_hours()$
-- Return how many hours are not reconciled since their last event.
SELECT count(*) FROM space_hours WHERE stale;

-- name: count_unplaced()$
-- Return how many events do not count, because their sensor was in no space at that time.
SELECT count(*) FROM sensor_events WHERE NOT placed;
