"""The database of the service that was deployed before, with its peculiarities."""

# Its tables, as far as we read them; names and types come from its public migrations.
TABLES = """
CREATE EXTENSION hll;
CREATE TABLE nodes (id serial PRIMARY KEY, name text, contact text, restriction_policy boolean,
    eas_group varchar(20), created_at timestamptz DEFAULT now());
CREATE TABLE tokens (id serial PRIMARY KEY, node_id integer, value varchar(32), valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL, create_at timestamptz DEFAULT now());
CREATE TABLE networks (node_id integer, name varchar(6), inverted_policy boolean, eas_group varchar(20),
    PRIMARY KEY (node_id, name));
CREATE TABLE payloads (id serial PRIMARY KEY, node_id integer, hash bigint UNIQUE, version text,
    generated_at timestamptz, created_at timestamptz DEFAULT now(), coverage date[]);
CREATE TABLE dataselect_stats (node_id integer, date date, network varchar(6), station varchar(5),
    location varchar(2), channel varchar(3), country varchar(2), bytes bigint, nb_reqs integer,
    nb_successful_reqs integer, nb_failed_reqs integer, clients hll, created_at timestamptz DEFAULT now(),
    updated_at timestamptz);
"""

CONTENTS = """
INSERT INTO nodes (name, contact, restriction_policy, eas_group) VALUES
    ('RESIF', 'operator@resif.example', false, '/epos/resif'), ('GFZ ', NULL, NULL, NULL), ('OLD', '', true, '');
UPDATE nodes SET id = id + 10;
INSERT INTO tokens (node_id, value, valid_from, valid_until) VALUES
    (11, 'token-of-resif', now() - interval '1 day', now() + interval '1 day'),
    (12, 'token-of-gfz', now() - interval '2 days', now() - interval '1 day'),
    (12, 'token-of-gfz', now() - interval '2 days', now() + interval '1 day'),
    (11, 'shared', now() - interval '1 day', now() + interval '1 day'),
    (12, 'shared', now() - interval '1 day', now() + interval '1 day'),
    (11, NULL, now(), now() + interval '1 day'), (12, '', now(), now() + interval '1 day'),
    (NULL, 'of-nobody', now(), now() + interval '1 day'), (99, 'of-another', now(), now() + interval '1 day'),
    (11, 'backwards', now(), now() - interval '1 day'), (11, 'for-ever', '-infinity', 'infinity'),
    (11, 'for-long', '0044-03-15 BC', '20201-01-01');
INSERT INTO networks VALUES (11, 'FR', false, NULL), (11, 'Z32015', true, '/epos/alparray'), (12, 'GE', NULL, NULL);
INSERT INTO payloads (node_id, hash, version, generated_at, coverage) VALUES
    (11, 1, '0.8.1', now(), '{2021-02-27,2021-02-28,2021-03-01}'), (11, 2, '0.8.1', now(), '{2021-02-28}'),
    (12, 3, NULL, NULL, '{2021-04-05}'), (12, 4, NULL, NULL, NULL),
    (11, 5, '0.8.1', now(), '{infinity,-infinity,1970-01-01,2091-01-01,20210-02-01,0044-03-15 BC}');
INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country, bytes, nb_reqs,
    nb_successful_reqs, nb_failed_reqs, clients)
SELECT 11 + n % 2, date '2021-02-01' + (n % 3 || ' months')::interval, (ARRAY['FR', 'GE', 'Z32015'])[1 + n % 3],
    'S' || n % 5, (ARRAY['', '00', '--', NULL, '*'])[1 + n % 5], (ARRAY['BHZ', 'HHZ'])[1 + n % 2],
    (ARRAY['FR', 'DE', NULL, 'fr', '-', 'A1'])[1 + n % 6], 1000000000000 + n, 10 + n, 9, 1 + n,
    (SELECT hll_add_agg(hll_hash_integer(k % 977), 11, 5) FROM generate_series(n, n + CASE WHEN n % 7 = 0 THEN 900
        WHEN n % 5 = 0 THEN 200 ELSE n % 4 END) k)
FROM generate_series(0, 119) n
WHERE n < 60 OR n % 4 <> 3;
UPDATE dataselect_stats SET date = date + 14 WHERE bytes % 11 = 3;
"""
