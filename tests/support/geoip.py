"""Databases of places in MaxMind's format, made for the tests."""

from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet


def write_database(path: Path, networks: dict[str, dict[str, Any]], version: int = 6) -> Path:
    """Write a database of cities for networks of addresses, and return its path."""
    writer = MMDBWriter(version, "GeoIP2-City", languages=["en"], ipv4_compatible=version == 6)
    for network, entry in networks.items():
        writer.insert_network(IPSet([network]), entry)
    writer.to_db_file(str(path))
    return path
