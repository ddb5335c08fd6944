-- Leave room in the pages of sums that nearly every payload of a month updates: new versions of rows that stay in
-- their page need no entries in the index. Pages that exist stay as they are.
-- depends: 0016_revisions-of-payloads

ALTER TABLE dataselect_stats SET (fillfactor = 65);
ALTER TABLE dataselect_stats_by_station SET (fillfactor = 65);
ALTER TABLE ringserver_stats SET (fillfactor = 65);
