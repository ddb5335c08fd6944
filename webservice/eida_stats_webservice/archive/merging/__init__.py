"""Merge a crawl into the tables of a shard."""
