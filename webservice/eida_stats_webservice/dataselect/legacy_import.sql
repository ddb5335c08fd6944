-- Queries of the database of the previously deployed service. Its tables have no foreign keys to nodes.

-- name: columns()
-- Return the columns of all tables.
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public';

-- name: prefer_public()!
-- Search the schema `public` first. It contains the tables, even if the search_path of the role differs.
SELECT set_config('search_path', 'public, ' || current_setting('search_path'), false);

-- name: nodes()
SELECT * FROM nodes ORDER BY id;

-- name: tokens()
-- Return the tokens. Of several equal tokens, the one that expires last comes first.
SELECT * FROM tokens ORDER BY valid_until DESC, id;

-- name: networks()
SELECT * FROM networks WHERE node_id IN (SELECT id FROM nodes) AND name <> '' ORDER BY node_id, name;

-- name: months()
-- Return the statistics, ordered by node and month.
SELECT *, date_trunc('month', date)::date AS month FROM dataselect_stats
WHERE node_id IN (SELECT id FROM nodes) AND date IS NOT NULL
ORDER BY node_id, month, network, station, location, channel, country;

-- name: ownerless()
-- Return the statistics without a node or date.
SELECT *, date AS month FROM dataselect_stats
WHERE (node_id IN (SELECT id FROM nodes)) IS NOT TRUE OR date IS NULL
ORDER BY node_id, date;

-- name: days()
-- Return one day per row. The driver cannot read a list if Python does not support one of its days.
SELECT node_id, unnest(coverage) AS day FROM payloads WHERE node_id IN (SELECT id FROM nodes);
