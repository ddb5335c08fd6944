"""Delivery of aggregate files: each is kept in a directory and sent once to each service."""
