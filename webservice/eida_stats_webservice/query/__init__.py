"""Queries of statistics: parsed, run, suppressed, written."""
