-- Records of raw transfer logs: statements for SQLite.

-- name: create_partition(month)!
-- Do nothing: SQLite has no partitions.
SELECT :month;

-- name: load_events(time, node_id, server, direction, city, countrycode, geohash, hosthash, protocol, client_class, network, station, location, channel, bytes, packets)*!
INSERT INTO ringserver_events (
    time, node_id, server, direction, city, countrycode, geohash, hosthash, protocol, client_class, network, station,
    location, channel, bytes, packets
) VALUES (
    :time, :node_id, :server, :direction, :city, :countrycode, :geohash, :hosthash, :protocol, :client_class, :network,
    :station, :location, :channel, :bytes, :packets
);

-- name: create_staging_records()!
-- Create a table for the new records. It outlives the transaction, so it is emptied before use.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_records (digest blob, count integer);

-- name: empty_staging_records()!
DELETE FROM temp.staging_records;

-- name: load_staging_records(digest, count)*!
INSERT INTO temp.staging_records VALUES (:digest, :count);

-- name: create_staging_clients()!
CREATE TEMPORARY TABLE IF NOT EXISTS staging_clients (
    date text, server text, direction text, hosthash text, bytes integer, packets integer, records integer
);

-- name: empty_staging_clients()!
DELETE FROM temp.staging_clients;

-- name: load_staging_clients(date, server, direction, hosthash, bytes, packets, records)*!
INSERT INTO temp.staging_clients VALUES (
    :date, :server, :direction, :hosthash, :bytes, :packets, :records
);
