-- Payloads and their sums: statements of SQLite's dialect.

-- name: create_staging()!
-- The rows that come in. Unlike PostgreSQL's, these tables outlive the transaction, and are emptied before use.
CREATE TEMPORARY TABLE IF NOT EXISTS staging (
    date text, network text, station text, location text, channel text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: create_staging_by_network()!
-- The same, summed up over the streams of each network.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_by_network (
    date text, network text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: empty_staging()!
DELETE FROM temp.staging;

-- name: empty_staging_by_network()!
DELETE FROM temp.staging_by_network;

-- name: load_staging(date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)*!
INSERT INTO temp.staging VALUES (
    :date, :network, :station, :location, :channel, :country,
    :bytes, :nb_reqs, :nb_successful_reqs, :nb_failedrequests, :clients
);

-- name: restart_numbers()^
-- SQLite continues after the largest id by itself.
SELECT 1;

-- name: has_rights()$
-- SQLite has no roles: a process that can open the file has all rights.
SELECT 1;
