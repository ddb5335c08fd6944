-- What only SQLite understands.

-- name: lock_node(node_id)^
-- The transaction holds the database's only write lock already.
SELECT id FROM nodes WHERE id = :node_id;

-- name: create_incoming()!
-- The rows of one payload.
CREATE TEMPORARY TABLE IF NOT EXISTS incoming (
    date text, network text, station text, location text, channel text, country text,
    bytes integer, nb_reqs integer, nb_successful_reqs integer, nb_failedrequests integer, clients blob
);

-- name: empty_incoming()!
-- Unlike in PostgreSQL, a temporary table outlives its transaction.
DELETE FROM temp.incoming;

-- name: load_incoming(date, network, station, location, channel, country, bytes, nb_reqs, nb_successful_reqs, nb_failedrequests, clients)*!
-- The rows of one payload.
INSERT INTO temp.incoming VALUES (
    :date, :network, :station, :location, :channel, :country,
    :bytes, :nb_reqs, :nb_successful_reqs, :nb_failedrequests, :clients
);
