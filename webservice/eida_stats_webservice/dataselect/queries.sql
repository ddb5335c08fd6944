-- Sums of the payloads of dataselect. Times and days are text in ISO 8601 format.

-- name: add_networks(node_id)!
-- Add the networks of the staging rows, except known ones.
INSERT INTO networks (node_id, name)
SELECT DISTINCT :node_id, network FROM staging_by_network WHERE network <> '' ORDER BY network
ON CONFLICT (node_id, name) DO NOTHING;

-- name: merge_stats(node_id)!
-- Add the staging rows to the stored rows.
INSERT INTO dataselect_stats AS stored (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging WHERE true
ON CONFLICT (node_id, date, network, station, location, channel, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients),
    updated_at = excluded.updated_at;

-- name: insert_stats(node_id)!
-- Store the sums of the staging rows of several payloads, for months without stored rows.
INSERT INTO dataselect_stats (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging
GROUP BY date, network, station, location, channel, country;

-- name: replace_stats(node_id, now)!
-- Store the staging rows, one for each key, in place of the stored rows with these keys, and return how many it replaced.
-- Where pages have room, this takes half of the time of DELETE and INSERT, and two thirds of that of ON CONFLICT.
UPDATE dataselect_stats AS stored SET
    bytes = staging.bytes,
    nb_reqs = staging.nb_reqs,
    nb_successful_reqs = staging.nb_successful_reqs,
    nb_failedrequests = staging.nb_failedrequests,
    clients = staging.clients,
    updated_at = :now
FROM staging
WHERE stored.node_id = :node_id
    AND stored.date = staging.date AND stored.network = staging.network AND stored.station = staging.station
    AND stored.location = staging.location AND stored.channel = staging.channel AND stored.country = staging.country;

-- name: restore_stats(node_id)!
-- Store the staging rows whose keys have no stored row.
INSERT INTO dataselect_stats (
    node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station, location, channel, country,
    bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging WHERE true
ON CONFLICT (node_id, date, network, station, location, channel, country) DO NOTHING;

-- name: aggregate_by_network()!
-- Add up the staging rows over the streams of each network. All roll-ups but that by station are computed from these
-- few rows.
INSERT INTO staging_by_network
SELECT date, network, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging
GROUP BY date, network, country;

-- name: merge_by_network_country(node_id)!
-- Update the roll-up over the streams of each network.
INSERT INTO dataselect_stats_by_network_country AS stored (
    node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging_by_network WHERE true
ON CONFLICT (node_id, date, network, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_network(node_id)!
-- Update the roll-up over the streams of each network and all countries.
INSERT INTO dataselect_stats_by_network AS stored (
    node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging_by_network WHERE true
GROUP BY date, network
ON CONFLICT (node_id, date, network) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_country(node_id)!
-- Update the roll-up over all streams, by country.
INSERT INTO dataselect_stats_by_country AS stored (
    node_id, date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging_by_network WHERE true
GROUP BY date, country
ON CONFLICT (node_id, date, country) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: merge_by_station(node_id)!
-- Update the roll-up over the streams of each station and all countries.
INSERT INTO dataselect_stats_by_station AS stored (
    node_id, date, network, station, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM staging WHERE true
GROUP BY date, network, station
ON CONFLICT (node_id, date, network, station) DO UPDATE SET
    bytes = stored.bytes + excluded.bytes,
    nb_reqs = stored.nb_reqs + excluded.nb_reqs,
    nb_successful_reqs = stored.nb_successful_reqs + excluded.nb_successful_reqs,
    nb_failedrequests = stored.nb_failedrequests + excluded.nb_failedrequests,
    clients = hll_union(stored.clients, excluded.clients);

-- name: remove_stats(node_id, days)!
-- Delete a node's rows of some months before they are computed again.
DELETE FROM dataselect_stats WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network_country(node_id, days)!
DELETE FROM dataselect_stats_by_network_country WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_network(node_id, days)!
DELETE FROM dataselect_stats_by_network WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_country(node_id, days)!
DELETE FROM dataselect_stats_by_country WHERE node_id = :node_id AND date IN :days;

-- name: remove_by_station(node_id, days)!
DELETE FROM dataselect_stats_by_station WHERE node_id = :node_id AND date IN :days;

-- name: add_staging_keys()!
-- Add the keys of the staging rows.
INSERT INTO staging_keys SELECT date, network, station, location, channel, country FROM staging;

-- name: remove_keys_of_stats(node_id)!
-- Delete a node's rows with keys that have no sums any more.
DELETE FROM dataselect_stats
WHERE node_id = :node_id AND (date, network, station, location, channel, country) IN (
    SELECT date, network, station, location, channel, country FROM staging_keys
);

-- name: remove_keys_by_network_country(node_id)!
-- Delete a node's rows with some keys before they are computed again.
DELETE FROM dataselect_stats_by_network_country
WHERE node_id = :node_id AND (date, network, country) IN (SELECT date, network, country FROM staging_keys);

-- name: restore_keys_by_network_country(node_id)!
INSERT INTO dataselect_stats_by_network_country (
    node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM staging_by_network;

-- name: remove_keys_by_network(node_id)!
DELETE FROM dataselect_stats_by_network
WHERE node_id = :node_id AND (date, network) IN (SELECT date, network FROM staging_keys);

-- name: restore_keys_by_network(node_id)!
INSERT INTO dataselect_stats_by_network (
    node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM dataselect_stats_by_network_country
WHERE node_id = :node_id AND (date, network) IN (SELECT date, network FROM staging_keys)
GROUP BY date, network;

-- name: remove_keys_by_country(node_id)!
DELETE FROM dataselect_stats_by_country
WHERE node_id = :node_id AND (date, country) IN (SELECT date, country FROM staging_keys);

-- name: restore_keys_by_country(node_id)!
INSERT INTO dataselect_stats_by_country (
    node_id, date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, country,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM dataselect_stats_by_network_country
WHERE node_id = :node_id AND (date, country) IN (SELECT date, country FROM staging_keys)
GROUP BY date, country;

-- name: remove_keys_by_station(node_id)!
DELETE FROM dataselect_stats_by_station
WHERE node_id = :node_id AND (date, network, station) IN (SELECT date, network, station FROM staging_keys);

-- name: restore_keys_by_station(node_id)!
INSERT INTO dataselect_stats_by_station (
    node_id, date, network, station, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
)
SELECT :node_id, date, network, station,
    sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failedrequests), hll_union_agg(clients)
FROM dataselect_stats
WHERE node_id = :node_id AND (date, network, station) IN (SELECT date, network, station FROM staging_keys)
GROUP BY date, network, station;

-- name: months_of_node(node_id)
-- Return one or more days of each month for which a node has statistics or payloads in force.
SELECT date FROM dataselect_stats WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network_country WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_network WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_country WHERE node_id = :node_id
UNION SELECT date FROM dataselect_stats_by_station WHERE node_id = :node_id
UNION SELECT day FROM payload_days JOIN payloads ON payloads.id = payload_days.payload_id
    WHERE node_id = :node_id AND kind = 'dataselect' AND withdrawn_at IS NULL
UNION SELECT starts_at FROM payloads WHERE node_id = :node_id AND kind = 'dataselect' AND withdrawn_at IS NULL;

-- name: read_dataselect_stats(node_id, first_day, last_day)
SELECT date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests,
    clients
FROM dataselect_stats WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_network_country(node_id, first_day, last_day)
SELECT date, network, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_network_country WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_network(node_id, first_day, last_day)
SELECT date, network, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_network WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_country(node_id, first_day, last_day)
SELECT date, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_country WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;

-- name: read_dataselect_stats_by_station(node_id, first_day, last_day)
SELECT date, network, station, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients
FROM dataselect_stats_by_station WHERE node_id = :node_id AND date BETWEEN :first_day AND :last_day;
