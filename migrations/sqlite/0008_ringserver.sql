-- What ringservers sent and received: sums of the payloads in force of their kind.
-- depends: 0007_kinds-of-payloads

-- Their keys begin with the time: most queries are about a period, of all nodes.

-- Sums by month and stream. `records` are stream lines of the transfer logs.
CREATE TABLE ringserver_stats (
    date text NOT NULL CHECK (date LIKE '____-__-01'),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network text NOT NULL CHECK (length(network) <= 8),
    station text NOT NULL CHECK (length(station) <= 8),
    location text NOT NULL CHECK (length(location) <= 8),
    channel text NOT NULL CHECK (length(channel) <= 16),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    records integer NOT NULL CHECK (typeof(records) = 'integer' AND records >= 0),
    clients blob NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, station, location, channel, country)
);

CREATE TABLE ringserver_by_day (
    date text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network text NOT NULL CHECK (length(network) <= 8),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    records integer NOT NULL CHECK (typeof(records) = 'integer' AND records >= 0),
    clients blob NOT NULL,
    PRIMARY KEY (date, node_id, direction, network, country)
);

CREATE TABLE ringserver_by_hour (
    hour text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    network text NOT NULL CHECK (length(network) <= 8),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    clients blob NOT NULL,
    PRIMARY KEY (hour, node_id, direction, network, country)
);

CREATE TABLE ringserver_by_place (
    date text NOT NULL,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('TX', 'RX')),
    country text NOT NULL CHECK (length(country) <= 2),
    city text NOT NULL CHECK (length(city) <= 100),
    geohash text NOT NULL CHECK (length(geohash) <= 12),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    packets integer NOT NULL CHECK (typeof(packets) = 'integer' AND packets >= 0),
    clients blob NOT NULL,
    PRIMARY KEY (date, node_id, direction, country, city, geohash)
);
