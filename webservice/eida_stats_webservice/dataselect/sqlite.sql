-- Sums of the payloads of dataselect: statements for SQLite.

-- name: create_staging()!
-- Create a table for the incoming rows. In SQLite, it outlives the transaction, so it is emptied before use.
CREATE TEMPORARY TABLE IF NOT EXISTS staging (
    date text, network text, station text, location text, channel text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: create_staging_by_network()!
-- Create a table for their sums over the streams of each network.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_by_network (
    date text, network text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: create_staging_keys()!
-- Create a table for the keys of rows that are built again.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_keys (
    date text, network text, station text, location text, channel text, country text
);

-- name: empty_staging()!
DELETE FROM temp.staging;

-- name: empty_staging_by_network()!
DELETE FROM temp.staging_by_network;

-- name: empty_staging_keys()!
DELETE FROM temp.staging_keys;

-- name: prepare_rebuild()$
-- Do nothing: SQLite has no such settings.
SELECT 1;

-- name: load_staging(date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)*!
INSERT INTO temp.staging VALUES (
    :date, :network, :station, :location, :channel, :country,
    :bytes, :nb_reqs, :nb_successful_reqs, :nb_failedrequests, :clients
);

-- name: load_staging_by_network(date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)*!
INSERT INTO temp.staging_by_network VALUES (
    :date, :network, :country, :bytes, :nb_reqs, :nb_successful_reqs, :nb_failedrequests, :clients
);

-- name: load_staging_keys(date, network, station, location, channel, country)*!
INSERT INTO temp.staging_keys VALUES (:date, :network, :station, :location, :channel, :country);

-- name: restart_numbers()^
-- Do nothing: SQLite continues after the largest id.
SELECT 1;

-- name: has_rights()$
-- Return true. SQLite has no roles; a process that can open the file has all privileges.
SELECT 1;
