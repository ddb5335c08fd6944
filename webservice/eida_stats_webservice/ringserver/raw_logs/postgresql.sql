-- Records of raw transfer logs: statements for PostgreSQL.

-- name: create_partition(month)!
-- Create the partition of a month if it is missing.
SELECT ringserver_create_partition(:month);

-- name: load_events()!
COPY ringserver_events (
    time, node_id, server, direction, city, countrycode, geohash, hosthash, protocol, client_class, network, station,
    location, channel, bytes, packets
) FROM STDIN;

-- name: create_staging_records()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_records (digest bytea, count integer) ON COMMIT DROP;

-- name: empty_staging_records()!
TRUNCATE staging_records;

-- name: load_staging_records()!
COPY staging_records FROM STDIN;

-- name: create_staging_clients()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_clients (
    date date, server text, direction text, hosthash text, bytes bigint, packets bigint, records bigint
) ON COMMIT DROP;

-- name: empty_staging_clients()!
TRUNCATE staging_clients;

-- name: load_staging_clients()!
COPY staging_clients FROM STDIN;
