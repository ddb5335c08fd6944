DROP TABLE ringserver_by_month;
