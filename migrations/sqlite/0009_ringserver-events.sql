-- Transfer logs of ringservers that a database takes itself: which records count, and what they state.
-- depends: 0008_ringserver

-- Digests of the records that count, keyed, so that each counts once. `count` is how often equal records count.
CREATE TABLE ringserver_records (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    source text NOT NULL,
    day text NOT NULL,
    digest blob NOT NULL CHECK (length(digest) = 16),
    count integer NOT NULL CHECK (typeof(count) = 'integer' AND count > 0),
    key_fingerprint text NOT NULL,
    PRIMARY KEY (node_id, source, day, digest)
);

-- The first days of which records and hours are kept.
CREATE TABLE ringserver_pruned (
    one_row boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one_row),
    records_from text NOT NULL,
    hours_from text NOT NULL
);
INSERT INTO ringserver_pruned (records_from, hours_from) VALUES ('1990-01-01', '1990-01-01');

-- `hosthash` stands for the address of a client, which is not stored; `records` are stream lines.
CREATE TABLE ringserver_by_client (
    date text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    server text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    hosthash text NOT NULL CHECK (length(hosthash) <= 12),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    records integer NOT NULL CHECK (typeof(records) = 'integer' AND records >= 0),
    PRIMARY KEY (date, node_id, server, direction, hosthash)
);

-- One row for each record and stream; the time is the middle of that of the record. PostgreSQL has partitions, and
-- no foreign key.
CREATE TABLE ringserver_events (
    time text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    server text NOT NULL,
    direction text NOT NULL,
    network text NOT NULL,
    station text NOT NULL,
    location text NOT NULL,
    channel text NOT NULL,
    bytes integer NOT NULL,
    packets integer NOT NULL,
    city text NOT NULL,
    countrycode text NOT NULL,
    geohash text NOT NULL,
    hosthash text NOT NULL,
    protocol text NOT NULL,
    client_class text NOT NULL
);
CREATE INDEX ringserver_events_time ON ringserver_events (node_id, server, time);
