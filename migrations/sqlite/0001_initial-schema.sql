-- The schema of the central database, for the embedded store: the same tables and columns as in PostgreSQL.
-- Days are YYYY-MM-DD, times ISO 8601 in UTC, sketches their bytes.
-- depends:

CREATE TABLE nodes (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    contact text NOT NULL,
    restriction_policy integer NOT NULL DEFAULT 0,
    eas_group text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))
);

CREATE TABLE tokens (
    id integer PRIMARY KEY,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    value text NOT NULL UNIQUE CHECK (length(value) = 64),
    valid_from text NOT NULL,
    valid_until text NOT NULL CHECK (valid_until > valid_from),
    revoked_at text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))
);

CREATE TABLE networks (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) <= 8),
    inverted_policy integer NOT NULL DEFAULT 0,
    eas_group text,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    PRIMARY KEY (node_id, name)
);

CREATE TABLE payloads (
    id integer PRIMARY KEY,
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    hash text NOT NULL CHECK (length(hash) = 32),
    starts_at text NOT NULL,
    ends_at text NOT NULL CHECK (ends_at >= starts_at),
    generated_at text NOT NULL,
    version text NOT NULL,
    nb_rows integer NOT NULL,
    body blob NOT NULL,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    UNIQUE (node_id, hash)
);

CREATE TABLE payload_days (
    payload_id integer NOT NULL REFERENCES payloads (id) ON DELETE CASCADE,
    day text NOT NULL,
    PRIMARY KEY (payload_id, day)
);

-- A sum that is too large becomes a float in SQLite, which the checks refuse.
CREATE TABLE dataselect_stats (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date text NOT NULL CHECK (date LIKE '____-__-01'),
    network text NOT NULL CHECK (length(network) <= 8),
    station text NOT NULL CHECK (length(station) <= 8),
    location text NOT NULL CHECK (length(location) <= 8),
    channel text NOT NULL CHECK (length(channel) <= 16),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer' AND bytes >= 0),
    nb_reqs integer NOT NULL CHECK (typeof(nb_reqs) = 'integer' AND nb_reqs >= 0),
    nb_successful_reqs integer NOT NULL CHECK (typeof(nb_successful_reqs) = 'integer' AND nb_successful_reqs >= 0),
    nb_failedrequests integer NOT NULL CHECK (typeof(nb_failedrequests) = 'integer' AND nb_failedrequests >= 0),
    clients blob NOT NULL,
    created_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    updated_at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')),
    PRIMARY KEY (node_id, date, network, station, location, channel, country)
);

-- Roll-ups: the same sums over all streams of a network, kept by the transaction that changes the table above.

CREATE TABLE dataselect_stats_by_network_country (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date text NOT NULL,
    network text NOT NULL CHECK (length(network) <= 8),
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer'),
    nb_reqs integer NOT NULL CHECK (typeof(nb_reqs) = 'integer'),
    nb_successful_reqs integer NOT NULL CHECK (typeof(nb_successful_reqs) = 'integer'),
    nb_failedrequests integer NOT NULL CHECK (typeof(nb_failedrequests) = 'integer'),
    clients blob NOT NULL,
    PRIMARY KEY (node_id, date, network, country)
);

CREATE TABLE dataselect_stats_by_network (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date text NOT NULL,
    network text NOT NULL CHECK (length(network) <= 8),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer'),
    nb_reqs integer NOT NULL CHECK (typeof(nb_reqs) = 'integer'),
    nb_successful_reqs integer NOT NULL CHECK (typeof(nb_successful_reqs) = 'integer'),
    nb_failedrequests integer NOT NULL CHECK (typeof(nb_failedrequests) = 'integer'),
    clients blob NOT NULL,
    PRIMARY KEY (node_id, date, network)
);

CREATE TABLE dataselect_stats_by_country (
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    date text NOT NULL,
    country text NOT NULL CHECK (length(country) <= 2),
    bytes integer NOT NULL CHECK (typeof(bytes) = 'integer'),
    nb_reqs integer NOT NULL CHECK (typeof(nb_reqs) = 'integer'),
    nb_successful_reqs integer NOT NULL CHECK (typeof(nb_successful_reqs) = 'integer'),
    nb_failedrequests integer NOT NULL CHECK (typeof(nb_failedrequests) = 'integer'),
    clients blob NOT NULL,
    PRIMARY KEY (node_id, date, country)
);
