-- Nothing is changed: an older version compares tokens with the names without /epos/, too.
SELECT 1;
