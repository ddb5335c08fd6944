DROP TABLE dataselect_stats_by_country;
DROP TABLE dataselect_stats_by_network;
DROP TABLE dataselect_stats_by_network_country;
DROP TABLE dataselect_stats;
DROP TABLE payload_days;
DROP TABLE payloads;
DROP TABLE networks;
DROP TABLE tokens;
DROP TABLE nodes;

-- Where the extension belongs to an administrator or serves other tables, it stays.
DO $$
BEGIN
    DROP EXTENSION hll;
EXCEPTION
    WHEN insufficient_privilege OR dependent_objects_still_exist THEN
        RAISE NOTICE 'the extension hll stays';
END
$$;
