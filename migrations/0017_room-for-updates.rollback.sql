ALTER TABLE dataselect_stats RESET (fillfactor);
ALTER TABLE dataselect_stats_by_station RESET (fillfactor);
ALTER TABLE ringserver_stats RESET (fillfactor);
