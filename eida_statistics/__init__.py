"""Formats and rules that the aggregator and the web service share."""

# The one place where it stands; asking the installed package for it would take a tenth of the time to start.
__version__ = "0.9.0"
