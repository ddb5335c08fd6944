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
