"""What the aggregator and the web service must agree on."""

# The one place where it stands; asking the installed package for it would take a tenth of the time to start.
__version__ = "0.9.0"
