"""The FDSN availability service 1.0: which data the archives have, from the timelines of their shards."""
