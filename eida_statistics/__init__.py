"""Formats and rules that the aggregator and the web service share."""

# Defined here only: reading it from the installed package would take a tenth of the start-up time.
__version__ = "0.9.0"
