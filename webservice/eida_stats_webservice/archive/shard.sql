-- The tables of one shard, in its schema. shard_indexes.sql adds their indexes. The other database has the same tables
-- for all shards, see the migration.

CREATE TABLE paths (
    pa_hash uuid NOT NULL,
    pa_ingested timestamp NOT NULL DEFAULT now(),
    pa_type path_type,
    pa_path text NOT NULL,
    pa_parents uuid[]
);

CREATE TABLE metadata (
    md_hash uuid NOT NULL,
    md_ingested timestamp NOT NULL DEFAULT now(),
    md_type text NOT NULL,
    md_json jsonb NOT NULL
);

CREATE TABLE files (
    fi_hash uuid NOT NULL,
    fi_parent uuid,
    fi_name text NOT NULL,
    fi_size bigint,
    fi_ctime timestamptz,
    fi_mtime timestamptz,
    fi_atime timestamptz,
    fi_mode text,
    fi_inode text,
    fi_uid text,
    fi_gid text,
    fi_user text,
    fi_group text
);

CREATE TABLE directories (
    di_hash uuid NOT NULL,
    di_parent uuid,
    di_name text NOT NULL,
    di_ctime timestamptz,
    di_mtime timestamptz,
    di_atime timestamptz,
    di_mode text,
    di_inode text,
    di_uid text,
    di_gid text,
    di_user text,
    di_group text,
    di_count numeric,
    di_size numeric
);

CREATE TABLE links (
    li_hash uuid NOT NULL,
    li_parent uuid,
    li_name text NOT NULL,
    li_ctime timestamptz,
    li_mtime timestamptz,
    li_atime timestamptz,
    li_inode text,
    li_uid text,
    li_gid text,
    li_user text,
    li_group text,
    li_intact boolean,
    li_target text
);

CREATE TABLE spans (
    sp_hash uuid NOT NULL,
    sp_network text COLLATE "C" NOT NULL,
    sp_station text COLLATE "C" NOT NULL,
    sp_location text COLLATE "C" NOT NULL,
    sp_channel text COLLATE "C" NOT NULL,
    sp_quality text COLLATE "C" NOT NULL,
    sp_rate double precision NOT NULL,
    sp_start timestamptz NOT NULL,
    sp_end timestamptz NOT NULL,
    sp_bytes bigint NOT NULL
);

CREATE TABLE timeline (
    tl_network text COLLATE "C" NOT NULL,
    tl_station text COLLATE "C" NOT NULL,
    tl_location text COLLATE "C" NOT NULL,
    tl_channel text COLLATE "C" NOT NULL,
    tl_quality text COLLATE "C" NOT NULL,
    tl_rate double precision NOT NULL,
    tl_start timestamptz NOT NULL,
    tl_end timestamptz NOT NULL,
    tl_updated timestamptz,
    tl_spans bigint NOT NULL
);
COMMENT ON COLUMN timeline.tl_updated IS 'the newest change of its files';
COMMENT ON COLUMN timeline.tl_spans IS 'the number of its segments';

-- No index: nearly all rows are read at once.
CREATE TABLE digests (
    dg_hash uuid NOT NULL,
    dg_digest bigint NOT NULL,
    dg_types bigint NOT NULL
);
COMMENT ON TABLE digests IS 'the lines of the paths whose rows are those of the last complete crawl';
COMMENT ON COLUMN digests.dg_digest IS 'a digest of the lines of the path';
COMMENT ON COLUMN digests.dg_types IS 'a digest of the types of metadata in the crawl';

-- The rows that follow from paths and metadata. Ingestion writes them into the tables of these names, and verification
-- compares them.

CREATE VIEW derived_files AS
SELECT
    paths.pa_hash AS fi_hash,
    paths.pa_parents[array_upper(paths.pa_parents, 1)] AS fi_parent,
    split_part(paths.pa_path, '/', length(paths.pa_path) - length(replace(paths.pa_path, '/', '')) + 1) AS fi_name,
    (metadata.md_json->>'size')::bigint AS fi_size,
    to_timestamp(((metadata.md_json->>'ctime')::bigint)::double precision) AS fi_ctime,
    to_timestamp(((metadata.md_json->>'mtime')::bigint)::double precision) AS fi_mtime,
    to_timestamp(((metadata.md_json->>'atime')::bigint)::double precision) AS fi_atime,
    metadata.md_json->>'mode' AS fi_mode,
    metadata.md_json->>'inode' AS fi_inode,
    metadata.md_json->>'uid' AS fi_uid,
    metadata.md_json->>'gid' AS fi_gid,
    metadata.md_json->>'user' AS fi_user,
    metadata.md_json->>'group' AS fi_group
FROM paths LEFT JOIN metadata ON metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'file'::path_type;

CREATE VIEW derived_links AS
SELECT
    paths.pa_hash AS li_hash,
    paths.pa_parents[array_upper(paths.pa_parents, 1)] AS li_parent,
    split_part(paths.pa_path, '/', length(paths.pa_path) - length(replace(paths.pa_path, '/', '')) + 1) AS li_name,
    to_timestamp(((metadata.md_json->>'ctime')::bigint)::double precision) AS li_ctime,
    to_timestamp(((metadata.md_json->>'mtime')::bigint)::double precision) AS li_mtime,
    to_timestamp(((metadata.md_json->>'atime')::bigint)::double precision) AS li_atime,
    metadata.md_json->>'inode' AS li_inode,
    metadata.md_json->>'uid' AS li_uid,
    metadata.md_json->>'gid' AS li_gid,
    metadata.md_json->>'user' AS li_user,
    metadata.md_json->>'group' AS li_group,
    (metadata.md_json->>'intact')::boolean AS li_intact,
    metadata.md_json->>'target' AS li_target
FROM paths LEFT JOIN metadata ON metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'link'::path_type;

CREATE VIEW derived_directories AS
SELECT
    paths.pa_hash AS di_hash,
    paths.pa_parents[array_upper(paths.pa_parents, 1)] AS di_parent,
    split_part(paths.pa_path, '/', length(paths.pa_path) - length(replace(paths.pa_path, '/', '')) + 1) AS di_name,
    to_timestamp(((metadata.md_json->>'ctime')::bigint)::double precision) AS di_ctime,
    to_timestamp(((metadata.md_json->>'mtime')::bigint)::double precision) AS di_mtime,
    to_timestamp(((metadata.md_json->>'atime')::bigint)::double precision) AS di_atime,
    metadata.md_json->>'mode' AS di_mode,
    metadata.md_json->>'inode' AS di_inode,
    metadata.md_json->>'uid' AS di_uid,
    metadata.md_json->>'gid' AS di_gid,
    metadata.md_json->>'user' AS di_user,
    metadata.md_json->>'group' AS di_group
FROM paths LEFT JOIN metadata ON metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'directory'::path_type;

CREATE VIEW derived_sums AS
SELECT parent AS hash, sum(count) AS count, sum(size) AS size
FROM (
    SELECT pa_parents, count(*) AS count, sum(coalesce(fi_size, 0)) AS size
    FROM derived_files JOIN paths ON pa_hash = fi_hash
    GROUP BY pa_parents
) AS directories CROSS JOIN unnest(pa_parents) AS parent
GROUP BY parent;

CREATE VIEW derived_spans AS
SELECT
    md_hash AS sp_hash, network AS sp_network, station AS sp_station, location AS sp_location,
    channel AS sp_channel, quality AS sp_quality, rate AS sp_rate, start AS sp_start, "end" AS sp_end,
    bytes AS sp_bytes
FROM metadata, jsonb_to_recordset(md_json->'segments') AS segment (
    network text, station text, location text, channel text, quality text, rate double precision,
    start timestamptz, "end" timestamptz, bytes bigint
)
WHERE md_type = 'mseed' AND md_json ? 'segments';
