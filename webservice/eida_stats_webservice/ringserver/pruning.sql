-- The data of ringservers that are kept for some time only.

-- name: kept_from()^
-- Return the first days of which records and hours are kept.
SELECT CAST(records_from AS text), CAST(hours_from AS text) FROM ringserver_pruned;

-- name: keep_records_from(day)!
-- Records of earlier days are not counted from now on. The day never goes back, since what is deleted stays deleted.
UPDATE ringserver_pruned SET records_from = :day WHERE records_from < :day;

-- name: keep_hours_from(day)!
UPDATE ringserver_pruned SET hours_from = :day WHERE hours_from < :day;

-- name: count_old(node_id, records_from, hours_from)^
-- Return how many rows of a node are too old: records, sums by client, and sums by hour.
SELECT
    (SELECT count(*) FROM ringserver_records WHERE node_id = :node_id AND day < :records_from),
    (SELECT count(*) FROM ringserver_by_client WHERE node_id = :node_id AND date < :records_from),
    (SELECT count(*) FROM ringserver_by_hour WHERE node_id = :node_id AND hour < :hours_from);

-- name: remove_old_records(node_id, records_from)!
DELETE FROM ringserver_records WHERE node_id = :node_id AND day < :records_from;

-- name: remove_old_clients(node_id, records_from)!
DELETE FROM ringserver_by_client WHERE node_id = :node_id AND date < :records_from;

-- name: remove_old_hours(node_id, hours_from)!
DELETE FROM ringserver_by_hour WHERE node_id = :node_id AND hour < :hours_from;

-- name: remove_old_hour_clients(node_id, hours_from)!
DELETE FROM ringserver_clients_by_hour WHERE node_id = :node_id AND hour < :hours_from;
