-- Live connections: sensors that count up and down, the spaces that they count, and the counts at any moment.
-- depends: 0011_ringserver-by-month

-- Trusted, so the owner of the database may create it. It is for the exclusion constraints of `installations`.
CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE TABLE spaces (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 130),
    parent_id integer REFERENCES spaces (id) ON DELETE SET NULL,
    node_id integer REFERENCES nodes (id) ON DELETE CASCADE,
    capacity integer CHECK (capacity > 0),
    restricted boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX spaces_name ON spaces (lower(name));
CREATE INDEX spaces_parent ON spaces (parent_id);
COMMENT ON TABLE spaces IS 'what sensors count; each space contains those whose parent it is';
COMMENT ON COLUMN spaces.node_id IS 'null for spaces above the nodes';
COMMENT ON COLUMN spaces.restricted IS 'only its node may see it';

CREATE FUNCTION spaces_check_parent() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        WITH RECURSIVE above (id) AS (
            SELECT NEW.parent_id
            UNION
            SELECT spaces.parent_id FROM spaces JOIN above ON spaces.id = above.id
        )
        SELECT FROM above WHERE id = NEW.id
    ) THEN
        RAISE EXCEPTION 'a space cannot contain itself' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM spaces WHERE id = NEW.parent_id AND node_id IS NOT NULL AND node_id IS DISTINCT FROM NEW.node_id)
    THEN
        RAISE EXCEPTION 'a space of a node can only contain spaces of this node' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER spaces_check_parent BEFORE INSERT OR UPDATE ON spaces
    FOR EACH ROW EXECUTE FUNCTION spaces_check_parent();

INSERT INTO spaces (name) VALUES ('federation');

CREATE TABLE sensors (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 130),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('door', 'ringserver', 'unknown')),
    open boolean NOT NULL DEFAULT false,
    UNIQUE (node_id, name)
);
CREATE UNIQUE INDEX sensors_name ON sensors (name) WHERE kind <> 'unknown';
COMMENT ON COLUMN sensors.name IS 'NODE/NAME for a ringserver';
COMMENT ON COLUMN sensors.kind IS 'unknown: a node has sent its events, but no administrator has added it';
COMMENT ON COLUMN sensors.open IS 'its events need no token';

CREATE TABLE installations (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    doorway text NOT NULL DEFAULT '',
    orientation smallint NOT NULL CHECK (orientation IN (-1, 1)),
    installed_at timestamptz NOT NULL,
    removed_at timestamptz CHECK (removed_at > installed_at),
    CONSTRAINT installations_once_per_space EXCLUDE USING gist (
        sensor_id WITH =, space_id WITH =, tstzrange(installed_at, removed_at) WITH &&
    ),
    CONSTRAINT installations_one_doorway EXCLUDE USING gist (
        sensor_id WITH =, doorway WITH <>, tstzrange(installed_at, removed_at) WITH &&
    )
);
CREATE INDEX installations_space ON installations (space_id);
COMMENT ON TABLE installations IS 'which space a sensor counts, from when to when';
COMMENT ON COLUMN installations.orientation IS '1: its direction 1 leads into the space; -1: out of it';
COMMENT ON COLUMN installations.removed_at IS 'null: it is still there';

-- A foreign key would be checked for each row of the three large tables, so triggers delete the rows of a node. Each
-- batch with new events also adds to `space_count`, whose foreign key lets it and a deletion wait for each other.
CREATE TABLE sensor_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    created timestamptz NOT NULL,
    recorded timestamptz NOT NULL,
    node_id integer NOT NULL,
    sensor text NOT NULL,
    event text NOT NULL,
    direction smallint,
    source text NOT NULL DEFAULT '',
    position bigint,
    session text,
    connected timestamptz,
    port integer,
    protocol text,
    details text
);
CREATE INDEX sensor_log_created ON sensor_log USING brin (created);
-- What a ringserver states about all of its sessions.
CREATE INDEX sensor_log_statements ON sensor_log (node_id, sensor, event, recorded)
    WHERE event IN ('server_start', 'snapshot', 'close_after');
COMMENT ON TABLE sensor_log IS 'all that was received, also what was received twice; rows are only added';
COMMENT ON COLUMN sensor_log.created IS 'when it was received';
COMMENT ON COLUMN sensor_log.recorded IS 'its own time';
COMMENT ON COLUMN sensor_log.sensor IS 'without the node, for a ringserver';
COMMENT ON COLUMN sensor_log.source IS 'the log file of a ringserver';
COMMENT ON COLUMN sensor_log.position IS 'the offset in this file';
COMMENT ON COLUMN sensor_log.session IS 'stands for the address and port of a client and its connect time';
COMMENT ON COLUMN sensor_log.details IS 'other fields, as JSON';

CREATE TABLE sensor_events (
    sensor_id integer NOT NULL,
    recorded timestamptz NOT NULL,
    source text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    direction smallint NOT NULL CHECK (direction IN (-1, 1)),
    cause text NOT NULL CHECK (cause IN ('send', 'log', 'inferred', 'restart', 'snapshot', 'age')),
    placed boolean NOT NULL,
    session text COLLATE "C",
    protocol text,
    -- Counts need the direction only, so they read the index alone.
    PRIMARY KEY (sensor_id, recorded, source, position) INCLUDE (direction)
);
CREATE INDEX sensor_events_line ON sensor_events (source, position) WHERE cause = 'log';
CREATE INDEX sensor_events_unplaced ON sensor_events (sensor_id) WHERE NOT placed;
COMMENT ON TABLE sensor_events IS 'each event that counts, once';
COMMENT ON COLUMN sensor_events.source IS 'empty for /send; begins with ! or ~ for an event that no log has';
COMMENT ON COLUMN sensor_events.position IS 'the direction for /send';
COMMENT ON COLUMN sensor_events.placed IS 'whether the sensor was in a space at that time';

CREATE TABLE sessions (
    sensor_id integer NOT NULL,
    session text COLLATE "C" NOT NULL,
    number integer NOT NULL,
    address text,
    port integer NOT NULL,
    connected timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by text CHECK (closed_by IN ('log', 'restart', 'snapshot', 'age')),
    protocol text,
    PRIMARY KEY (sensor_id, session, number),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
CREATE INDEX sessions_connected ON sessions (sensor_id, connected);
CREATE INDEX sessions_open ON sessions (sensor_id) WHERE closed_at IS NULL;
CREATE INDEX sessions_with_address ON sessions (closed_at) WHERE address IS NOT NULL;
COMMENT ON COLUMN sessions.number IS 'counts equal sessions: clients behind one address, in one second';
COMMENT ON COLUMN sessions.address IS 'keyed hash of the address, dropped 30 days after the end of the session';

CREATE TABLE session_listings (
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    session text COLLATE "C" NOT NULL,
    count integer NOT NULL CHECK (count > 0),
    listed_at timestamptz NOT NULL,
    PRIMARY KEY (sensor_id, session, count)
);
COMMENT ON TABLE session_listings IS 'the latest snapshot that has listed a session, by the number of equal ones in it';

CREATE TABLE session_protocols (
    sensor_id integer NOT NULL REFERENCES sensors (id) ON DELETE CASCADE,
    session text COLLATE "C" NOT NULL,
    protocol text COLLATE "C" NOT NULL,
    PRIMARY KEY (sensor_id, session)
);
COMMENT ON TABLE session_protocols IS 'the protocol that a command has shown, for sessions whose disconnect has none';

CREATE TABLE sensor_states (
    sensor_id integer NOT NULL PRIMARY KEY REFERENCES sensors (id) ON DELETE CASCADE,
    heard_at timestamptz NOT NULL,
    unconfirmed boolean NOT NULL DEFAULT true,
    snapshot text
);
COMMENT ON TABLE sensor_states IS 'when a ringserver was heard of last';
COMMENT ON COLUMN sensor_states.unconfirmed IS 'whether its status cannot be read, so that open sessions may have ended';
COMMENT ON COLUMN sensor_states.snapshot IS 'the sessions of the last snapshot that was received, as JSON';

CREATE TABLE space_hours (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    hour timestamptz NOT NULL,
    entries bigint NOT NULL,
    exits bigint NOT NULL,
    lowest bigint NOT NULL DEFAULT 0,
    highest bigint NOT NULL DEFAULT 0,
    stale boolean NOT NULL,
    PRIMARY KEY (space_id, hour)
);
CREATE INDEX space_hours_stale ON space_hours (space_id, hour) WHERE stale;
COMMENT ON COLUMN space_hours.lowest IS 'relative to the start of the hour';
COMMENT ON COLUMN space_hours.stale IS 'lowest and highest are not computed since the last event';

CREATE TABLE space_days (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    day date NOT NULL,
    entries bigint NOT NULL,
    exits bigint NOT NULL,
    -- A count adds up all days of a space, from this index alone.
    PRIMARY KEY (space_id, day) INCLUDE (entries, exits)
);

CREATE TABLE space_count (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    created timestamptz NOT NULL,
    recorded timestamptz NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX space_count_created ON space_count (space_id, created);
COMMENT ON TABLE space_count IS 'what was shown, from `created` on';

CREATE TABLE recounts (
    space_id integer NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    recorded timestamptz NOT NULL,
    count bigint NOT NULL CHECK (count >= 0),
    author text NOT NULL,
    level bigint,
    created timestamptz NOT NULL,
    PRIMARY KEY (space_id, recorded)
);
COMMENT ON TABLE recounts IS 'counts that an administrator has stated';
COMMENT ON COLUMN recounts.level IS 'entries minus exits of the space up to then, once its events are archived';

CREATE TABLE connections_archived (
    one_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one_row),
    events_from date NOT NULL
);
COMMENT ON TABLE connections_archived IS 'the first day of which events are kept';
INSERT INTO connections_archived (events_from) VALUES ('2000-01-01');

-- Present counts are requested most often, and planning these statements takes longer than running them. PL/pgSQL keeps
-- their plans for a connection to the server, also behind PgBouncer.
CREATE FUNCTION spaces_count_present(wanted text) RETURNS TABLE (
    node_id integer, restricted boolean, net numeric, is_known boolean, has_recounts boolean, has_ringservers boolean
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE top AS (
        SELECT id, node_id, restricted FROM spaces WHERE lower(name) = lower(wanted)
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
END
$$;

CREATE FUNCTION spaces_find_present(top_id integer) RETURNS TABLE (
    net numeric, recounted timestamptz, first_heard timestamptz, last_heard timestamptz, unconfirmed numeric,
    changed timestamptz
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE below (space_id, node_id, is_stored) AS (
        SELECT id, node_id, node_id IS NOT NULL FROM spaces WHERE id = top_id
        UNION ALL
        SELECT spaces.id, spaces.node_id, spaces.node_id IS NOT NULL AND below.node_id IS NULL
        FROM below JOIN spaces ON spaces.parent_id = below.space_id
    )
    SELECT
        (
            SELECT sum((
                SELECT coalesce(sum(entries - exits), 0) FROM space_days WHERE space_days.space_id = below.space_id
            ))
            FROM below
            WHERE is_stored
                AND (SELECT min(hour) FROM space_hours WHERE space_hours.space_id = below.space_id) IS NOT NULL
        ),
        (SELECT max(recorded) FROM recounts WHERE space_id IN (SELECT space_id FROM below)),
        min(CASE WHEN removed_at IS NULL THEN heard_at END),
        max(CASE WHEN removed_at IS NULL THEN heard_at END),
        sum(CASE WHEN unconfirmed AND removed_at IS NULL THEN (
            SELECT count(*) FROM sessions WHERE sessions.sensor_id = installations.sensor_id AND closed_at IS NULL
        ) END),
        max((
            SELECT max(recorded) FROM sensor_events
            WHERE sensor_events.sensor_id = installations.sensor_id AND recorded >= installed_at
                AND (removed_at IS NULL OR recorded < removed_at)
        ))
    FROM below JOIN installations USING (space_id) LEFT JOIN sensor_states USING (sensor_id);
END
$$;

CREATE FUNCTION sensors_delete_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM sensor_events WHERE sensor_id = OLD.id;
    DELETE FROM sessions WHERE sensor_id = OLD.id;
    RETURN OLD;
END
$$;
CREATE TRIGGER sensors_delete_events AFTER DELETE ON sensors
    FOR EACH ROW EXECUTE FUNCTION sensors_delete_events();

CREATE FUNCTION nodes_delete_sensor_log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM sensor_log WHERE node_id = OLD.id;
    -- The spaces above the nodes contained those of this node.
    UPDATE space_hours SET stale = true FROM spaces WHERE spaces.id = space_id AND spaces.node_id IS NULL;
    RETURN OLD;
END
$$;
CREATE TRIGGER nodes_delete_sensor_log AFTER DELETE ON nodes
    FOR EACH ROW EXECUTE FUNCTION nodes_delete_sensor_log();

-- Functions must find no tables of the caller, and only the service may call them.
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'spaces_check_parent()', 'sensors_delete_events()', 'nodes_delete_sensor_log()',
        'spaces_count_present(text)', 'spaces_find_present(integer)'
    ]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END
$$;
