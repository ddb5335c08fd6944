-- Transfer logs of ringservers that a database takes itself: which records count, and what they state.
-- depends: 0008_ringserver

ALTER TABLE payloads DROP CONSTRAINT payloads_origin_check;
ALTER TABLE payloads ADD CONSTRAINT payloads_origin_check CHECK (origin IN ('submission', 'import', 'raw-logs'));

CREATE TABLE ringserver_records (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    source text NOT NULL,
    day date NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 16),
    count integer NOT NULL CHECK (count > 0),
    key_fingerprint text NOT NULL,
    PRIMARY KEY (node_id, source, day, digest)
);
COMMENT ON TABLE ringserver_records IS 'the records that count, as keyed digests, so that each counts once';
COMMENT ON COLUMN ringserver_records.count IS 'how often equal records count';
COMMENT ON COLUMN ringserver_records.key_fingerprint IS 'that of the key of the digests';

CREATE TABLE ringserver_pruned (
    one_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one_row),
    records_from date NOT NULL,
    hours_from date NOT NULL
);
COMMENT ON TABLE ringserver_pruned IS 'the first days of which records and hours are kept';
INSERT INTO ringserver_pruned (records_from, hours_from) VALUES ('1990-01-01', '1990-01-01');

CREATE TABLE ringserver_by_client (
    date date NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    server text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    hosthash varchar(12) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    records bigint NOT NULL CHECK (records >= 0),
    PRIMARY KEY (date, node_id, server, direction, hosthash)
);
COMMENT ON COLUMN ringserver_by_client.hosthash IS 'stands for the address of a client, which is not stored';
COMMENT ON COLUMN ringserver_by_client.records IS 'stream lines of the transfer logs';

-- A foreign key would be checked for each row, which takes longer than all else. So a trigger deletes the events of a
-- node.
CREATE TABLE ringserver_events (
    time timestamptz NOT NULL,
    node_id integer NOT NULL,
    server text NOT NULL,
    direction text NOT NULL,
    network varchar(8) NOT NULL,
    station varchar(8) NOT NULL,
    location varchar(8) NOT NULL,
    channel varchar(16) NOT NULL,
    bytes bigint NOT NULL,
    packets bigint NOT NULL,
    city varchar(100) NOT NULL,
    countrycode varchar(2) NOT NULL,
    geohash varchar(12) NOT NULL,
    hosthash varchar(12) NOT NULL,
    protocol text NOT NULL,
    client_class text NOT NULL
) PARTITION BY RANGE (time);
CREATE INDEX ringserver_events_time ON ringserver_events USING brin (time) WITH (pages_per_range = 32);
COMMENT ON TABLE ringserver_events IS 'one row for each record and stream, by month; the middle of the time of the record';

CREATE FUNCTION ringserver_delete_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM ringserver_events WHERE node_id = OLD.id;
    RETURN OLD;
END
$$;
CREATE TRIGGER ringserver_delete_events AFTER DELETE ON nodes
    FOR EACH ROW EXECUTE FUNCTION ringserver_delete_events();

CREATE FUNCTION ringserver_create_partition(month date) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    first date := month - (extract(day FROM month)::integer - 1);
    stop date := (first + interval '1 month')::date;
    name text := 'ringserver_events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF (first BETWEEN '1990-01-01'::date AND (now() AT TIME ZONE 'UTC' + interval '1 month')::date) IS NOT TRUE THEN
        RAISE EXCEPTION 'there are partitions from 1990 to the next month' USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = name) THEN
        RETURN;
    END IF;
    -- Another transaction may create it now.
    PERFORM pg_advisory_xact_lock(hashtext('ringserver_create_partition'));
    IF EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = name) THEN
        RETURN;
    END IF;
    -- It is built and then attached, so that readers and writers of other months need not wait.
    EXECUTE format('CREATE TABLE %I.%I (LIKE ringserver_events INCLUDING ALL)', current_schema(), name);
    EXECUTE format(
        'ALTER TABLE ringserver_events ATTACH PARTITION %I.%I FOR VALUES FROM (%L) TO (%L)', current_schema(), name,
        to_char(first, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(stop, 'YYYY-MM-DD') || ' 00:00:00+00'
    );
END
$$;
COMMENT ON FUNCTION ringserver_create_partition IS 'creates the partition of a month if it is missing';

CREATE FUNCTION ringserver_set_body(payload_id bigint, new_body bytea) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    UPDATE payloads SET body = new_body
    WHERE id = payload_id AND CASE
        WHEN new_body = '' THEN origin = 'raw-logs' AND superseded_by IS NOT NULL
        ELSE body = ''
    END
$$;
COMMENT ON FUNCTION ringserver_set_body IS 'empties the body of a payload that another one contains, or fills it again';

-- Functions with the rights of their owner must find no tables of the caller.
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'ringserver_delete_events()', 'ringserver_create_partition(date)', 'ringserver_set_body(bigint, bytea)'
    ]
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', signature, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
    END LOOP;
END
$$;
