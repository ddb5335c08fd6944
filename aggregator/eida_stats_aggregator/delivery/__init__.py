"""Delivery of aggregate files: kept in a directory, sent to services, each once."""
