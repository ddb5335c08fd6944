-- Live connections: sensors that count up and down, the spaces that they count, and the counts at any moment.
-- depends: 0011_ringserver-by-month

-- Times are texts in UTC with microseconds, since SQLite compares them as texts.

CREATE TABLE spaces (
    id integer PRIMARY KEY AUTOINCREMENT,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 130),
    parent_id integer REFERENCES spaces (id) ON DELETE SET NULL,
    node_id integer REFERENCES nodes (id) ON DELETE CASCADE,
    capacity integer CHECK (capacity > 0),
    restricted boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX spaces_name ON spaces (lower(name));
CREATE INDEX spaces_parent ON spaces (parent_id);

CREATE TRIGGER spaces_check_parent_insert BEFORE INSERT ON spaces
WHEN EXISTS (
    SELECT 1 FROM spaces WHERE id = NEW.parent_id AND node_id IS NOT NULL AND node_id IS NOT NEW.node_id
)
BEGIN
    SELECT RAISE(ABORT, 'a space of a node can only contain spaces of this node');
END;
CREATE TRIGGER spaces_check_parent_update BEFORE UPDATE ON spaces
WHEN EXISTS (
    SELECT 1 FROM spaces WHERE id = NEW.parent_id AND node_id IS NOT NULL AND node_id IS NOT NEW.node_id
)
BEGIN
    SELECT RAISE(ABORT, 'a space of a node can only contain spaces of this node');
END;
-- No space contains a new one, but it may name itself.
CREATE TRIGGER spaces_check_itself BEFORE INSERT ON spaces WHEN NEW.parent_id = NEW.id
BEGIN
    SELECT RAISE(ABORT, 'a space cannot contain itself');
END;
CREATE TRIGGER spaces_check_cycle BEFORE UPDATE OF parent_id ON spaces
WHEN EXISTS (
    WITH RECURSIVE above (id) AS (
        SELECT NEW.parent_id
        UNION
        SELECT spaces.parent_id FROM spaces JOIN above ON spaces.id = above.id
    )
    SELECT 1 FROM above WHERE id = NEW.id
)
BEGIN
    SELECT RAISE(ABORT, 'a space cannot contain itself');
END;

INSERT INTO spaces (name) VALUES ('federation');

CREATE TABLE sensors (
    id integer PRIMARY KEY AUTOINCREMENT,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 130),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('door', 'ringserver', 'unknown')),
    open boolean NOT NULL DEFAULT false,
    UNIQUE (node_id, name)
);
CREATE UNIQUE INDEX sensors_name ON sensors (name) WHERE kind <> 'unknown';

CREATE TABLE installations (
    id integer PRIMARY KEY AUTOINCREMENT,
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    doorway text NOT NULL DEFAULT '',
    orientation integer NOT NULL CHECK (orientation IN (-1, 1)),
    installed_at text NOT NULL,
    removed_at text CHECK (removed_at > installed_at)
);
-- A sensor has one doorway at a time, and is in a space once. PostgreSQL has exclusion constraints for this.
CREATE TRIGGER installations_check_insert BEFORE INSERT ON installations
WHEN EXISTS (
    SELECT 1 FROM installations
    WHERE sensor_id = NEW.sensor_id AND id IS NOT NEW.id
        AND (space_id = NEW.space_id OR doorway <> NEW.doorway)
        AND installed_at < coalesce(NEW.removed_at, '9999-99') AND NEW.installed_at < coalesce(removed_at, '9999-99')
)
BEGIN
    SELECT RAISE(ABORT, 'the sensor is in this space or in another doorway at that time');
END;
CREATE TRIGGER installations_check_update BEFORE UPDATE ON installations
WHEN EXISTS (
    SELECT 1 FROM installations
    WHERE sensor_id = NEW.sensor_id AND id IS NOT NEW.id
        AND (space_id = NEW.space_id OR doorway <> NEW.doorway)
        AND installed_at < coalesce(NEW.removed_at, '9999-99') AND NEW.installed_at < coalesce(removed_at, '9999-99')
)
BEGIN
    SELECT RAISE(ABORT, 'the sensor is in this space or in another doorway at that time');
END;
CREATE INDEX installations_space ON installations (space_id);

CREATE TABLE sensor_log (
    id integer PRIMARY KEY AUTOINCREMENT,
    created text NOT NULL,
    recorded text NOT NULL,
    node_id integer NOT NULL,
    sensor text NOT NULL,
    event text NOT NULL,
    direction integer,
    source text NOT NULL DEFAULT '',
    position integer,
    session text,
    connected text,
    port integer,
    protocol text,
    details text
);
CREATE INDEX sensor_log_created ON sensor_log (created);
-- What a ringserver states about all of its sessions.
CREATE INDEX sensor_log_statements ON sensor_log (node_id, sensor, event, recorded)
    WHERE event IN ('server_start', 'snapshot', 'close_after');

CREATE TABLE sensor_events (
    sensor_id integer NOT NULL,
    recorded text NOT NULL,
    source text NOT NULL,
    position integer NOT NULL,
    direction integer NOT NULL CHECK (direction IN (-1, 1)),
    cause text NOT NULL CHECK (cause IN ('send', 'log', 'inferred', 'restart', 'snapshot', 'age')),
    placed boolean NOT NULL,
    session text,
    protocol text,
    PRIMARY KEY (sensor_id, recorded, source, position)
);
CREATE INDEX sensor_events_line ON sensor_events (source, position) WHERE cause = 'log';
CREATE INDEX sensor_events_unplaced ON sensor_events (sensor_id) WHERE NOT placed;

CREATE TABLE sessions (
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    session text NOT NULL,
    number integer NOT NULL,
    address text,
    port integer NOT NULL,
    connected text NOT NULL,
    closed_at text,
    closed_by text CHECK (closed_by IN ('log', 'restart', 'snapshot', 'age')),
    protocol text,
    PRIMARY KEY (sensor_id, session, number),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
CREATE INDEX sessions_connected ON sessions (sensor_id, connected);
CREATE INDEX sessions_open ON sessions (sensor_id) WHERE closed_at IS NULL;
CREATE INDEX sessions_with_address ON sessions (closed_at) WHERE address IS NOT NULL;

CREATE TABLE session_listings (
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    session text NOT NULL,
    count integer NOT NULL CHECK (count > 0),
    listed_at text NOT NULL,
    PRIMARY KEY (sensor_id, session, count)
);

CREATE TABLE session_protocols (
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    session text NOT NULL,
    protocol text NOT NULL,
    PRIMARY KEY (sensor_id, session)
);

CREATE TABLE sensor_states (
    sensor_id integer NOT NULL PRIMARY KEY REFERENCES sensors (id) ON DELETE CASCADE,
    heard_at text NOT NULL,
    unconfirmed boolean NOT NULL DEFAULT true,
    snapshot text
);

CREATE TABLE space_hours (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    hour text NOT NULL,
    entries integer NOT NULL,
    exits integer NOT NULL,
    lowest integer NOT NULL DEFAULT 0,
    highest integer NOT NULL DEFAULT 0,
    stale boolean NOT NULL,
    PRIMARY KEY (space_id, hour)
);
CREATE INDEX space_hours_stale ON space_hours (space_id, hour) WHERE stale;

CREATE TABLE space_days (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    day text NOT NULL,
    entries integer NOT NULL,
    exits integer NOT NULL,
    PRIMARY KEY (space_id, day)
);

CREATE TABLE space_count (
    id integer PRIMARY KEY AUTOINCREMENT,
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    created text NOT NULL,
    recorded text NOT NULL,
    count integer NOT NULL
);
CREATE INDEX space_count_created ON space_count (space_id, created);

CREATE TABLE recounts (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    recorded text NOT NULL,
    count integer NOT NULL CHECK (count >= 0),
    author text NOT NULL,
    level integer,
    created text NOT NULL,
    PRIMARY KEY (space_id, recorded)
);

CREATE TABLE connections_archived (
    one_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one_row),
    events_from text NOT NULL
);
INSERT INTO connections_archived (events_from) VALUES ('2000-01-01');

-- A foreign key would be checked for each row of the two large tables.
CREATE TRIGGER sensors_delete_events AFTER DELETE ON sensors
BEGIN
    DELETE FROM sensor_events WHERE sensor_id = OLD.id;
END;
CREATE TRIGGER nodes_delete_sensor_log AFTER DELETE ON nodes
BEGIN
    DELETE FROM sensor_log WHERE node_id = OLD.id;
    -- The spaces above the nodes contained those of this node.
    UPDATE space_hours SET stale = true WHERE space_id IN (SELECT id FROM spaces WHERE node_id IS NULL);
END;
