-- The extension stays: other tables may need it.
DROP TRIGGER nodes_delete_sensor_log ON nodes;
DROP FUNCTION nodes_delete_sensor_log();
DROP FUNCTION spaces_count_present(text), spaces_find_present(integer);
DROP TABLE connections_archived, recounts, space_count, space_days, space_hours, sensor_states, session_protocols,
    session_listings, sessions, sensor_events, sensor_log, installations, sensors, spaces;
DROP FUNCTION sensors_delete_events();
DROP FUNCTION spaces_check_parent();
