-- The catalogue of the nodes' archives: shards, received crawls, stations, and the bytes that nodes hold.
-- depends: 0012_connections

CREATE TYPE path_type AS ENUM ('file', 'directory', 'link');

CREATE TABLE shards (
    sh_code text PRIMARY KEY CHECK (
        sh_code ~ '^[a-z][a-z0-9_]{0,49}$' AND sh_code !~ '(^pg_|_tmp$|_old$)'
        AND sh_code NOT IN ('public', 'information_schema')
    ),
    sh_path text NOT NULL UNIQUE CHECK (sh_path ~ '^(/[^/]+)+$' AND sh_path !~ '/\.{1,2}(/|$)'),
    node_id integer NOT NULL REFERENCES nodes (id),
    open_paths boolean NOT NULL DEFAULT false,
    generation bigint NOT NULL DEFAULT 0,
    crawled_at timestamptz,
    refreshed_at timestamptz,
    foreign_server text
);
CREATE INDEX shards_node ON shards (node_id);
COMMENT ON TABLE shards IS 'the catalogues of archives; each has a schema of its name';
COMMENT ON COLUMN shards.sh_path IS 'the path that all its paths begin with';
COMMENT ON COLUMN shards.open_paths IS 'everybody may see its paths, files and links';
COMMENT ON COLUMN shards.generation IS 'raised by every change';
COMMENT ON COLUMN shards.crawled_at IS 'the start of the last complete crawl that was ingested';
COMMENT ON COLUMN shards.refreshed_at IS 'when its holdings were last computed';
COMMENT ON COLUMN shards.foreign_server IS 'the server that has its tables; null for this database';

CREATE TABLE crawls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    sha256 text NOT NULL,
    size bigint NOT NULL,
    root text NOT NULL,
    started timestamptz NOT NULL,
    finished timestamptz NOT NULL,
    received timestamptz NOT NULL DEFAULT now(),
    ingested timestamptz,
    refused text,
    UNIQUE (sh_code, sha256)
);
COMMENT ON TABLE crawls IS 'crawls that were received';
COMMENT ON COLUMN crawls.sha256 IS 'of the file as it was received';
COMMENT ON COLUMN crawls.root IS 'the path that all its paths begin with';
COMMENT ON COLUMN crawls.started IS 'when the node began it';
COMMENT ON COLUMN crawls.ingested IS 'null: it waits, or was refused';
COMMENT ON COLUMN crawls.refused IS 'why it was not ingested';

CREATE TABLE crawl_pieces (
    crawl_id bigint NOT NULL REFERENCES crawls ON DELETE CASCADE,
    piece integer NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (crawl_id, piece)
);
-- It is compressed already.
ALTER TABLE crawl_pieces ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE crawl_pieces IS 'the files of crawls that wait, in pieces that fit into memory';

CREATE TABLE stations (
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    network text NOT NULL,
    station text NOT NULL,
    location text NOT NULL,
    channel text NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz,
    latitude double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    PRIMARY KEY (sh_code, network, station, location, channel, first)
);
COMMENT ON TABLE stations IS 'where a channel was, by epoch';
COMMENT ON COLUMN stations.network IS 'the extended code';
COMMENT ON COLUMN stations.last IS 'null: it is still there';

CREATE TABLE holdings (
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    node_id integer NOT NULL REFERENCES nodes (id),
    network text NOT NULL,
    station text NOT NULL,
    location text NOT NULL,
    channel text NOT NULL,
    year integer NOT NULL,
    bytes bigint NOT NULL,
    files integer NOT NULL,
    seconds double precision NOT NULL,
    first timestamptz NOT NULL,
    last timestamptz NOT NULL,
    PRIMARY KEY (sh_code, network, station, location, channel, year)
);
CREATE INDEX holdings_network ON holdings (network, node_id);
COMMENT ON TABLE holdings IS 'the bytes that an archive holds, by stream and year of the data';
COMMENT ON COLUMN holdings.network IS 'the extended code';
COMMENT ON COLUMN holdings.seconds IS 'the time that its samples cover';

CREATE TABLE holdings_history (
    month date NOT NULL CHECK (extract(day FROM month) = 1),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    network text NOT NULL,
    year integer NOT NULL,
    bytes bigint NOT NULL,
    files integer NOT NULL,
    seconds double precision NOT NULL,
    first timestamptz,
    last timestamptz,
    PRIMARY KEY (node_id, month, network, year)
);
COMMENT ON TABLE holdings_history IS 'holdings by node, network and year, as they were at the end of a month';
COMMENT ON COLUMN holdings_history.month IS 'its first day';
COMMENT ON COLUMN holdings_history.files IS '0, with no network: the node held nothing';

-- The views over all shards. `eida_statsman shards` creates them again with each shard.
CREATE VIEW paths AS SELECT NULL::uuid AS pa_hash, NULL::timestamp AS pa_ingested, NULL::path_type AS pa_type,
    NULL::text AS pa_path, NULL::uuid[] AS pa_parents, NULL::text AS sh_code WHERE false;
CREATE VIEW metadata AS SELECT NULL::uuid AS md_hash, NULL::timestamp AS md_ingested, NULL::text AS md_type,
    NULL::jsonb AS md_json, NULL::text AS sh_code WHERE false;
CREATE VIEW files AS SELECT NULL::uuid AS fi_hash, NULL::uuid AS fi_parent, NULL::text AS fi_name,
    NULL::bigint AS fi_size, NULL::timestamptz AS fi_ctime, NULL::timestamptz AS fi_mtime,
    NULL::timestamptz AS fi_atime, NULL::text AS fi_mode, NULL::text AS fi_inode, NULL::text AS fi_uid,
    NULL::text AS fi_gid, NULL::text AS fi_user, NULL::text AS fi_group, NULL::text AS sh_code WHERE false;
CREATE VIEW directories AS SELECT NULL::uuid AS di_hash, NULL::uuid AS di_parent, NULL::text AS di_name,
    NULL::timestamptz AS di_ctime, NULL::timestamptz AS di_mtime, NULL::timestamptz AS di_atime,
    NULL::text AS di_mode, NULL::text AS di_inode, NULL::text AS di_uid, NULL::text AS di_gid,
    NULL::text AS di_user, NULL::text AS di_group, NULL::numeric AS di_count, NULL::numeric AS di_size,
    NULL::text AS sh_code WHERE false;
CREATE VIEW links AS SELECT NULL::uuid AS li_hash, NULL::uuid AS li_parent, NULL::text AS li_name,
    NULL::timestamptz AS li_ctime, NULL::timestamptz AS li_mtime, NULL::timestamptz AS li_atime,
    NULL::text AS li_inode, NULL::text AS li_uid, NULL::text AS li_gid, NULL::text AS li_user,
    NULL::text AS li_group, NULL::boolean AS li_intact, NULL::text AS li_target, NULL::text AS sh_code WHERE false;
CREATE VIEW spans AS SELECT NULL::uuid AS sp_hash, NULL::text COLLATE "C" AS sp_network,
    NULL::text COLLATE "C" AS sp_station, NULL::text COLLATE "C" AS sp_location,
    NULL::text COLLATE "C" AS sp_channel, NULL::text COLLATE "C" AS sp_quality, NULL::float8 AS sp_rate,
    NULL::timestamptz AS sp_start, NULL::timestamptz AS sp_end, NULL::bigint AS sp_bytes, NULL::text AS sh_code
    WHERE false;
CREATE VIEW timeline AS SELECT NULL::text COLLATE "C" AS tl_network, NULL::text COLLATE "C" AS tl_station,
    NULL::text COLLATE "C" AS tl_location, NULL::text COLLATE "C" AS tl_channel,
    NULL::text COLLATE "C" AS tl_quality, NULL::float8 AS tl_rate, NULL::timestamptz AS tl_start,
    NULL::timestamptz AS tl_end, NULL::timestamptz AS tl_updated, NULL::bigint AS tl_spans, NULL::text AS sh_code
    WHERE false;
