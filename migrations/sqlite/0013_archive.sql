-- The catalogue of the nodes' archives: shards, received crawls, stations, and the bytes that nodes hold.
-- depends: 0012_connections

-- Times are texts in UTC with microseconds, since SQLite compares them as texts. UUIDs are texts, too. The rows of all
-- shards are in the same tables.

CREATE TABLE shards (
    sh_code text PRIMARY KEY NOT NULL CHECK (
        sh_code GLOB '[a-z]*' AND sh_code NOT GLOB '*[^a-z0-9_]*' AND length(sh_code) <= 50
        AND sh_code NOT GLOB 'pg_*' AND sh_code NOT GLOB '*_tmp' AND sh_code NOT GLOB '*_old'
        AND sh_code NOT IN ('public', 'information_schema')
    ),
    sh_path text NOT NULL UNIQUE CHECK (
        sh_path GLOB '/?*' AND sh_path NOT GLOB '*/' AND sh_path NOT GLOB '*//*'
        AND sh_path || '/' NOT GLOB '*/./*' AND sh_path || '/' NOT GLOB '*/../*'
    ),
    node_id integer NOT NULL REFERENCES nodes (id),
    open_paths boolean NOT NULL DEFAULT false,
    generation integer NOT NULL DEFAULT 0,
    crawled_at text,
    refreshed_at text,
    foreign_server text CHECK (foreign_server IS NULL)
);
CREATE INDEX shards_node ON shards (node_id);

CREATE TABLE crawls (
    id integer PRIMARY KEY AUTOINCREMENT,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    sha256 text NOT NULL,
    size integer NOT NULL,
    root text NOT NULL,
    started text NOT NULL,
    finished text NOT NULL,
    received text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')),
    ingested text,
    refused text,
    UNIQUE (sh_code, sha256)
);

CREATE TABLE crawl_pieces (
    crawl_id integer NOT NULL REFERENCES crawls ON DELETE CASCADE,
    piece integer NOT NULL,
    content blob NOT NULL,
    PRIMARY KEY (crawl_id, piece)
);

CREATE TABLE stations (
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    network text NOT NULL,
    station text NOT NULL,
    location text NOT NULL,
    channel text NOT NULL,
    first text NOT NULL,
    last text,
    latitude real NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude real NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    PRIMARY KEY (sh_code, network, station, location, channel, first)
) WITHOUT ROWID;

CREATE TABLE holdings (
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    node_id integer NOT NULL REFERENCES nodes (id),
    network text NOT NULL,
    station text NOT NULL,
    location text NOT NULL,
    channel text NOT NULL,
    year integer NOT NULL,
    bytes integer NOT NULL,
    files integer NOT NULL,
    seconds real NOT NULL,
    first text NOT NULL,
    last text NOT NULL,
    PRIMARY KEY (sh_code, network, station, location, channel, year)
) WITHOUT ROWID;
CREATE INDEX holdings_network ON holdings (network, node_id);

CREATE TABLE holdings_history (
    month text NOT NULL CHECK (month GLOB '????-??-01'),
    node_id integer NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
    network text NOT NULL,
    year integer NOT NULL,
    bytes integer NOT NULL,
    files integer NOT NULL,
    seconds real NOT NULL,
    first text,
    last text,
    PRIMARY KEY (node_id, month, network, year)
) WITHOUT ROWID;

CREATE TABLE paths (
    pa_hash text NOT NULL,
    pa_ingested text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000', 'now')),
    pa_type text CHECK (pa_type IN ('file', 'directory', 'link')),
    pa_path text NOT NULL,
    pa_parents text NOT NULL,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, pa_hash)
) WITHOUT ROWID;
-- What is below a path is a range of this index.
CREATE UNIQUE INDEX pai_path ON paths (pa_path);

CREATE TABLE metadata (
    md_hash text NOT NULL,
    md_ingested text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000', 'now')),
    md_type text NOT NULL,
    md_json text NOT NULL,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, md_hash, md_type)
) WITHOUT ROWID;

CREATE TABLE files (
    fi_hash text NOT NULL,
    fi_parent text,
    fi_name text NOT NULL,
    fi_size integer,
    fi_ctime text,
    fi_mtime text,
    fi_atime text,
    fi_mode text,
    fi_inode text,
    fi_uid text,
    fi_gid text,
    fi_user text,
    fi_group text,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, fi_hash)
) WITHOUT ROWID;
CREATE INDEX fii_parent ON files (sh_code, fi_parent);

CREATE TABLE directories (
    di_hash text NOT NULL,
    di_parent text,
    di_name text NOT NULL,
    di_ctime text,
    di_mtime text,
    di_atime text,
    di_mode text,
    di_inode text,
    di_uid text,
    di_gid text,
    di_user text,
    di_group text,
    di_count integer,
    di_size integer,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, di_hash)
) WITHOUT ROWID;
CREATE INDEX dii_parent ON directories (sh_code, di_parent);

CREATE TABLE links (
    li_hash text NOT NULL,
    li_parent text,
    li_name text NOT NULL,
    li_ctime text,
    li_mtime text,
    li_atime text,
    li_inode text,
    li_uid text,
    li_gid text,
    li_user text,
    li_group text,
    li_intact boolean,
    li_target text,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, li_hash)
) WITHOUT ROWID;

CREATE TABLE spans (
    sp_hash text NOT NULL,
    sp_network text NOT NULL,
    sp_station text NOT NULL,
    sp_location text NOT NULL,
    sp_channel text NOT NULL,
    sp_quality text NOT NULL,
    sp_rate real NOT NULL,
    sp_start text NOT NULL,
    sp_end text NOT NULL,
    sp_bytes integer NOT NULL,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE
);
CREATE INDEX spi_hash ON spans (sh_code, sp_hash);
CREATE INDEX spi_stream ON spans (sp_network, sp_station, sp_location, sp_channel, sp_start, sp_end);

CREATE TABLE timeline (
    tl_network text NOT NULL,
    tl_station text NOT NULL,
    tl_location text NOT NULL,
    tl_channel text NOT NULL,
    tl_quality text NOT NULL,
    tl_rate real NOT NULL,
    tl_start text NOT NULL,
    tl_end text NOT NULL,
    tl_updated text,
    tl_spans integer NOT NULL,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE
);
CREATE INDEX tli_stream ON timeline (tl_network, tl_station, tl_location, tl_channel, tl_start, tl_end);
CREATE INDEX tli_shard ON timeline (sh_code, tl_network, tl_station, tl_location, tl_channel);

CREATE TABLE digests (
    dg_hash text NOT NULL,
    dg_digest integer NOT NULL,
    dg_types integer NOT NULL,
    sh_code text NOT NULL REFERENCES shards ON DELETE CASCADE,
    PRIMARY KEY (sh_code, dg_hash)
) WITHOUT ROWID;

-- The rows that follow from paths and metadata. Ingestion writes them into the tables of these names, and verification
-- compares them.

CREATE VIEW derived_files AS
SELECT
    paths.pa_hash AS fi_hash,
    paths.pa_parents ->> '$[#-1]' AS fi_parent,
    substr(paths.pa_path, length(rtrim(paths.pa_path, replace(paths.pa_path, '/', ''))) + 1) AS fi_name,
    metadata.md_json ->> '$.size' AS fi_size,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.ctime', 'unixepoch') AS fi_ctime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.mtime', 'unixepoch') AS fi_mtime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.atime', 'unixepoch') AS fi_atime,
    metadata.md_json ->> '$.mode' AS fi_mode,
    metadata.md_json -> '$.inode' AS fi_inode,
    metadata.md_json -> '$.uid' AS fi_uid,
    metadata.md_json -> '$.gid' AS fi_gid,
    metadata.md_json ->> '$.user' AS fi_user,
    metadata.md_json ->> '$.group' AS fi_group,
    paths.sh_code AS sh_code
FROM paths LEFT JOIN metadata
    ON metadata.sh_code = paths.sh_code AND metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'file';

CREATE VIEW derived_links AS
SELECT
    paths.pa_hash AS li_hash,
    paths.pa_parents ->> '$[#-1]' AS li_parent,
    substr(paths.pa_path, length(rtrim(paths.pa_path, replace(paths.pa_path, '/', ''))) + 1) AS li_name,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.ctime', 'unixepoch') AS li_ctime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.mtime', 'unixepoch') AS li_mtime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.atime', 'unixepoch') AS li_atime,
    metadata.md_json -> '$.inode' AS li_inode,
    metadata.md_json -> '$.uid' AS li_uid,
    metadata.md_json -> '$.gid' AS li_gid,
    metadata.md_json ->> '$.user' AS li_user,
    metadata.md_json ->> '$.group' AS li_group,
    metadata.md_json ->> '$.intact' AS li_intact,
    metadata.md_json ->> '$.target' AS li_target,
    paths.sh_code AS sh_code
FROM paths LEFT JOIN metadata
    ON metadata.sh_code = paths.sh_code AND metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'link';

CREATE VIEW derived_directories AS
SELECT
    paths.pa_hash AS di_hash,
    paths.pa_parents ->> '$[#-1]' AS di_parent,
    substr(paths.pa_path, length(rtrim(paths.pa_path, replace(paths.pa_path, '/', ''))) + 1) AS di_name,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.ctime', 'unixepoch') AS di_ctime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.mtime', 'unixepoch') AS di_mtime,
    strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', metadata.md_json ->> '$.atime', 'unixepoch') AS di_atime,
    metadata.md_json ->> '$.mode' AS di_mode,
    metadata.md_json -> '$.inode' AS di_inode,
    metadata.md_json -> '$.uid' AS di_uid,
    metadata.md_json -> '$.gid' AS di_gid,
    metadata.md_json ->> '$.user' AS di_user,
    metadata.md_json ->> '$.group' AS di_group,
    paths.sh_code AS sh_code
FROM paths LEFT JOIN metadata
    ON metadata.sh_code = paths.sh_code AND metadata.md_hash = paths.pa_hash AND metadata.md_type = 'posix'
WHERE paths.pa_type = 'directory';

CREATE VIEW derived_sums AS
SELECT parent.value AS hash, count(*) AS count, sum(coalesce(fi_size, 0)) AS size, files.sh_code AS sh_code
FROM derived_files AS files
JOIN paths ON paths.sh_code = files.sh_code AND pa_hash = fi_hash,
json_each(pa_parents) AS parent
GROUP BY parent.value, files.sh_code;

CREATE VIEW derived_spans AS
SELECT
    md_hash AS sp_hash, segment.value ->> '$.network' AS sp_network, segment.value ->> '$.station' AS sp_station,
    segment.value ->> '$.location' AS sp_location, segment.value ->> '$.channel' AS sp_channel,
    segment.value ->> '$.quality' AS sp_quality, segment.value ->> '$.rate' AS sp_rate,
    -- In the metadata, whole seconds have no fraction.
    substr(segment.value ->> '$.start', 1, 19)
        || CASE length(segment.value ->> '$.start') WHEN 20 THEN '.000000' ELSE substr(segment.value ->> '$.start', 20, 7) END
        || '+00:00' AS sp_start,
    substr(segment.value ->> '$.end', 1, 19)
        || CASE length(segment.value ->> '$.end') WHEN 20 THEN '.000000' ELSE substr(segment.value ->> '$.end', 20, 7) END
        || '+00:00' AS sp_end,
    segment.value ->> '$.bytes' AS sp_bytes, sh_code
FROM metadata, json_each(md_json, '$.segments') AS segment
WHERE md_type = 'mseed';
