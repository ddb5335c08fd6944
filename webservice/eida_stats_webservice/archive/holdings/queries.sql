-- Holdings. The table `refreshed_streams` is temporary.

-- name: empty_refreshed()!
DELETE FROM refreshed_streams;

-- name: find_streams(code)!
-- Refresh all streams of a shard.
INSERT INTO refreshed_streams (id, network, station, location, channel)
SELECT row_number() OVER (), sp_network, sp_station, sp_location, sp_channel
FROM (SELECT DISTINCT sp_network, sp_station, sp_location, sp_channel FROM spans WHERE sh_code = :code) AS streams;

-- name: list_refreshed()
SELECT id, network, station, location, channel FROM refreshed_streams;

-- name: delete_holdings(code, first_year, last_year)!
DELETE FROM holdings WHERE sh_code = :code AND year BETWEEN :first_year AND :last_year;

-- name: delete_refreshed_holdings(code, first_year, last_year)!
DELETE FROM holdings
WHERE sh_code = :code AND year BETWEEN :first_year AND :last_year
    AND (network, station, location, channel) IN (SELECT network, station, location, channel FROM refreshed_streams);

-- name: mark_as_refreshed(code, now)!
UPDATE shards SET refreshed_at = :now WHERE sh_code = :code;

-- name: delete_snapshot(node_id, month)!
DELETE FROM holdings_history WHERE node_id = :node_id AND month = :month;

-- name: add_snapshot(node_id, month)!
-- Store what a node holds now.
INSERT INTO holdings_history (month, node_id, network, year, bytes, files, seconds, first, last)
SELECT :month, :node_id, network, year, sum(bytes), sum(files), sum(seconds), min(first), max(last)
FROM holdings WHERE sh_code IN (SELECT sh_code FROM shards WHERE node_id = :node_id)
GROUP BY network, year;

-- name: add_empty_snapshot(node_id, month)!
-- Store that a node holds nothing now, if that is so: without a row, the snapshot before would count. Of a node without
-- a shard, nothing is known.
INSERT INTO holdings_history (month, node_id, network, year, bytes, files, seconds)
SELECT :month, :node_id, '', 0, 0, 0, 0
WHERE NOT EXISTS (SELECT 1 FROM holdings_history WHERE node_id = :node_id AND month = :month)
    AND EXISTS (SELECT 1 FROM shards WHERE node_id = :node_id AND refreshed_at IS NOT NULL);

-- name: add_held_networks(node_id, month)!
-- Add the networks of a snapshot, except known ones, so that they have policies. No longer code can have one.
INSERT INTO networks (node_id, name)
SELECT DISTINCT node_id, network FROM holdings_history
WHERE node_id = :node_id AND month = :month AND network <> '' AND length(network) <= 8
ON CONFLICT (node_id, name) DO NOTHING;

-- name: list_states(last)
-- Return, for each node: the month of its last snapshot up to a month, that of its last one, and whether it has a shard
-- whose holdings are known.
SELECT id, name,
    (SELECT max(month) FROM holdings_history WHERE node_id = nodes.id AND month <= :last),
    (SELECT max(month) FROM holdings_history WHERE node_id = nodes.id),
    EXISTS (SELECT 1 FROM shards WHERE node_id = nodes.id AND refreshed_at IS NOT NULL)
FROM nodes;

-- name: read_snapshot(node_id, month, by_year)
SELECT network, CASE WHEN :by_year = 1 THEN year END, sum(bytes)
FROM holdings_history WHERE node_id = :node_id AND month = :month
GROUP BY 1, 2;

-- name: read_growth(start, last, by_year)
-- Return, for each month that has a snapshot of any node, the last snapshot of each node up to this month.
SELECT snapshots.month, nodes.name, network, CASE WHEN :by_year = 1 THEN year END, sum(bytes)
FROM (
    SELECT months.month, earlier.node_id, max(earlier.month) AS newest
    FROM (SELECT DISTINCT month FROM holdings_history WHERE month >= :start AND month <= :last) AS months
    JOIN (SELECT DISTINCT node_id, month FROM holdings_history) AS earlier ON earlier.month <= months.month
    GROUP BY months.month, earlier.node_id
) AS snapshots
JOIN nodes ON nodes.id = snapshots.node_id
JOIN holdings_history AS stats ON stats.node_id = snapshots.node_id AND stats.month = snapshots.newest
GROUP BY 1, 2, 3, 4;
