-- The privileges of the service's role to count live connections.

-- What was received is only added to. Ringservers register themselves; other changes are the administrator's.
GRANT SELECT, INSERT ON sensor_log, spaces, sensors, installations TO {role};
GRANT SELECT, INSERT, DELETE ON sensor_events TO {role};
GRANT SELECT, INSERT, UPDATE ON sessions, session_listings, session_protocols, sensor_states, space_hours, space_days TO {role};
GRANT SELECT, INSERT ON space_count TO {role};
GRANT SELECT ON recounts, connections_archived TO {role};
GRANT EXECUTE ON FUNCTION spaces_count_present(text), spaces_find_present(integer) TO {role};
