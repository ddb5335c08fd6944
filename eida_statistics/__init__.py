"""What the aggregator and the web service must agree on."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eida-statistics")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
