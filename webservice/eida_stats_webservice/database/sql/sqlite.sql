-- Queries for SQLite only.

-- name: ping()^
-- Whether the database answers and has its schema, whether it can only be read, whether the role may read which
-- migrations there are, and whether it has the rights that the service needs.
SELECT count(*), 0, 1, 1 FROM nodes WHERE id < 0;

-- name: end_after(seconds)^
-- Readers hold up nobody here, so nothing is ended.
SELECT :seconds;

-- name: lock_node(node_id)$
-- The transaction holds the database's only write lock already.
SELECT revision FROM nodes WHERE id = :node_id;

-- name: bump_revision(node_id)!
-- Note that the statistics of a node have changed. The time only increases.
UPDATE nodes SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes),
    (SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds') FROM registry_state)
)
WHERE id = :node_id;

-- name: bump_registry_revision()!
-- Note that nodes, networks or their policies have changed. There may be no node.
UPDATE registry_state SET revision = revision + 1, changed_at = max(
    strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
    COALESCE((SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', max(changed_at), '+0.001 seconds') FROM nodes), ''),
    strftime('%Y-%m-%dT%H:%M:%f+00:00', changed_at, '+0.001 seconds')
);

-- name: create_incoming()!
-- The rows that come in. Unlike PostgreSQL's, these tables outlive the transaction, and are emptied before use.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    date text, network text, station text, location text, channel text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: create_rolled()!
-- The same, summed up over the streams of each network.
CREATE TEMPORARY TABLE IF NOT EXISTS rolled (
    date text, network text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: empty_incoming()!
DELETE FROM temp.incoming;

-- name: empty_rolled()!
DELETE FROM temp.rolled;

-- name: load_incoming(date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)*!
INSERT INTO temp.incoming VALUES (
    :date, :network, :station, :location, :channel, :country,
    :bytes, :nb_reqs, :nb_successful_reqs, :nb_failedrequests, :clients
);

-- name: restart_numbers()^
-- SQLite continues after the largest number by itself.
SELECT 1;

-- name: wait_briefly()!
-- SQLite has one lock; how long a connection waits for it is set when it is opened.
SELECT 1;

-- name: be_patient()!
-- SQLite ends no transaction by itself.
SELECT 1;
