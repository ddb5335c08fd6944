-- Temporary functions that return null for what cannot be parsed. A function without an exception would end the
-- transaction. The session has them in its temporary schema until it ends.

CREATE OR REPLACE FUNCTION pg_temp.parse_stamps(stamps jsonb) RETURNS timestamptz[] LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(jsonb_typeof(stamps), 'null') = 'null' THEN
        RETURN '{}';
    END IF;
    -- PostgreSQL would also accept words such as now.
    IF EXISTS (
        SELECT FROM jsonb_array_elements(stamps) AS stamp
        WHERE jsonb_typeof(stamp) <> 'string' OR stamp #>> '{}' !~ '^\d+-\d+-\d+'
    ) THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(SELECT jsonb_array_elements_text(stamps))::timestamptz[];
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pg_temp.parse_polygon(polygon text) RETURNS geometry LANGUAGE plpgsql AS $$
BEGIN
    RETURN ST_GeomFromText(polygon);
EXCEPTION WHEN data_exception OR internal_error THEN
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION pg_temp.parse_number(number text) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
    RETURN number::numeric;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
