-- Reads the service that was deployed before. No constraint of its tables refers to a node.

-- name: columns()
-- The columns of all tables.
SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public';

-- name: prefer_public()!
-- Its tables are in this schema, whatever the search_path of the role.
SELECT set_config('search_path', 'public, ' || current_setting('search_path'), false);

-- name: nodes()
SELECT * FROM nodes ORDER BY id;

-- name: tokens()
-- The tokens, with the one of several equal ones first that is valid longest.
SELECT * FROM tokens ORDER BY valid_until DESC, id;

-- name: networks()
SELECT * FROM networks WHERE node_id IN (SELECT id FROM nodes) AND name <> '' ORDER BY node_id, name;

-- name: months()
-- The statistics, grouped by node and month.
SELECT *, date_trunc('month', date)::date AS month FROM dataselect_stats
WHERE node_id IN (SELECT id FROM nodes) AND date IS NOT NULL
ORDER BY node_id, month, network, station, location, channel, country;

-- name: ownerless()
-- The statistics without a node or date.
SELECT *, date AS month FROM dataselect_stats
WHERE (node_id IN (SELECT id FROM nodes)) IS NOT TRUE OR date IS NULL
ORDER BY node_id, date;

-- name: days()
-- One day in each row: a list with a day that Python lacks could not be read at all.
SELECT node_id, unnest(coverage) AS day FROM payloads WHERE node_id IN (SELECT id FROM nodes);
