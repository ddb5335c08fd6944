-- Sums of the payloads of dataselect: statements for PostgreSQL.

-- name: create_staging()!
-- Create a table for the incoming rows.
CREATE TEMPORARY TABLE IF NOT EXISTS staging (
    date date, network text, station text, location text, channel text, country text,
    bytes bigint, nb_reqs bigint, nb_successful_reqs bigint, nb_failedrequests bigint, clients hll(11, 5)
) ON COMMIT DROP;

-- name: create_staging_by_network()!
-- Create a table for their sums over the streams of each network.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_by_network (
    date date, network text, country text,
    bytes bigint, nb_reqs bigint, nb_successful_reqs bigint, nb_failedrequests bigint, clients hll(11, 5)
) ON COMMIT DROP;

-- name: create_staging_keys()!
-- Create a table for the keys of rows that are built again.
CREATE TEMPORARY TABLE IF NOT EXISTS staging_keys (
    date date, network text, station text, location text, channel text, country text
) ON COMMIT DROP;

-- name: empty_staging()!
-- Empty the table, because one transaction may merge several payloads one after the other.
TRUNCATE staging;

-- name: empty_staging_by_network()!
TRUNCATE staging_by_network;

-- name: empty_staging_keys()!
TRUNCATE staging_keys;

-- name: prepare_rebuild()$
-- Let rows be aggregated in a hash table, because to sort them takes as long as to unite their sketches. Each sum takes
-- 128 kB; beyond 128 MB, rows wait in a file. And let the rows of stations be found by the index, which takes half of
-- the time that it takes to read the month.
SELECT set_config('enable_hashagg', 'on', true), set_config('work_mem', '64MB', true),
    set_config('hash_mem_multiplier', '2', true), set_config('random_page_cost', '1.1', true);

-- name: load_staging()!
COPY staging FROM STDIN;

-- name: load_staging_by_network()!
COPY staging_by_network FROM STDIN;

-- name: load_staging_keys()!
COPY staging_keys FROM STDIN;

-- name: restart_numbers()^
-- Continue after the largest ids in use.
SELECT setval(pg_get_serial_sequence('nodes', 'id'), COALESCE((SELECT max(id) FROM nodes), 0) + 1, false),
    setval(pg_get_serial_sequence('tokens', 'id'), COALESCE((SELECT max(id) FROM tokens), 0) + 1, false),
    setval(pg_get_serial_sequence('payloads', 'id'), COALESCE((SELECT max(id) FROM payloads), 0) + 1, false);

-- name: has_rights()$
-- Return whether the role has the privileges of the service on the sums.
SELECT has_table_privilege('dataselect_stats', 'INSERT') AND has_table_privilege('dataselect_stats', 'UPDATE')
    AND has_table_privilege('dataselect_stats', 'SELECT')
    AND has_table_privilege('dataselect_stats_by_network_country', 'SELECT')
    AND has_table_privilege('dataselect_stats_by_network', 'SELECT')
    AND has_table_privilege('dataselect_stats_by_country', 'SELECT')
    AND has_table_privilege('dataselect_stats_by_station', 'SELECT');
