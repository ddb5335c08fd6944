-- What ringservers sent and received: sums of the payloads in force of their kind.
-- depends: 0007_kinds-of-payloads

-- Their keys begin with the time: most queries are about a period, of all nodes.

CREATE TABLE ringserver_stats (
    date date NOT NULL CHECK (extract(day FROM date) = 1),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network varchar(8) NOT NULL,
    station varchar(8) NOT NULL,
    location varchar(8) NOT NULL,
    channel varchar(16) NOT NULL,
    country varchar(2) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    records bigint NOT NULL CHECK (records >= 0),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, station, location, channel, country)
);
COMMENT ON TABLE ringserver_stats IS 'by month and stream';
COMMENT ON COLUMN ringserver_stats.direction IS 'TX: sent to clients; RX: received from data sources';
COMMENT ON COLUMN ringserver_stats.records IS 'stream lines of the transfer logs';

CREATE TABLE ringserver_by_day (
    date date NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network varchar(8) NOT NULL,
    country varchar(2) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    records bigint NOT NULL CHECK (records >= 0),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, country)
);

CREATE TABLE ringserver_by_hour (
    hour timestamptz NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network varchar(8) NOT NULL,
    country varchar(2) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (hour, node_id, direction, network, country)
);
COMMENT ON COLUMN ringserver_by_hour.hour IS 'its beginning, UTC';

CREATE TABLE ringserver_by_place (
    date date NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    country varchar(2) NOT NULL,
    city varchar(100) NOT NULL,
    geohash varchar(12) NOT NULL,
    bytes bigint NOT NULL CHECK (bytes >= 0),
    packets bigint NOT NULL CHECK (packets >= 0),
    clients hll(11, 5) NOT NULL,
    PRIMARY KEY (date, node_id, direction, country, city, geohash)
);
