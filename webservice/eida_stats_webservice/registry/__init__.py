"""Nodes, networks and tokens."""
