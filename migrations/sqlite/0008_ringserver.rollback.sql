DROP TABLE ringserver_by_place;
DROP TABLE ringserver_by_hour;
DROP TABLE ringserver_by_day;
DROP TABLE ringserver_stats;
