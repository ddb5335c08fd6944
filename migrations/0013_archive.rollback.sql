-- The schemas of shards stay, with their tables: remove the shards before (eida_statsman shards remove).
DROP VIEW IF EXISTS polygons;
DROP VIEW timeline, spans, links, directories, files, metadata, paths;
DROP TABLE holdings_history, holdings, stations, crawl_pieces, crawls, shards;
DROP TYPE path_type;
