"""Crawls of the node's archive: the command `eida_archive`."""
