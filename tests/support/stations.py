"""Answers of an FDSN station service as text, with `level=channel`, and registries of networks."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

from eida_statistics.networks import Epoch, NetworkRegistry

HEADER = (
    "#Network|Station|Location|Channel|Latitude|Longitude|Elevation|Depth|Azimuth|Dip|SensorDescription|Scale"
    "|ScaleFreq|ScaleUnits|SampleRate|StartTime|EndTime"
)
REGISTRY = NetworkRegistry(
    lambda: [
        Epoch("Z3", date(2005, 1, 1), date(2007, 12, 31)),
        Epoch("Z3", date(2015, 1, 1), date(2020, 12, 31)),
        Epoch("GE", date(1991, 1, 1)),
    ]
)


def format_channel(
    codes: str, latitude: object, longitude: object, start: str = "2010-01-01T00:00:00", end: str = ""
) -> str:
    """Return the line of a channel such as `GE.APE..BHZ`."""
    network, station, location, channel = codes.split(".")
    return (
        f"{network}|{station}|{location}|{channel}|{latitude}|{longitude}|620.0|0.0|0.0|-90.0|STS-2/N|6.0E8|0.02|M/S"
        f"|20.0|{start}|{end}"
    )


def write_stations(file: Path, lines: Iterable[str]) -> Path:
    """Write an answer, and return its path."""
    file.write_text("".join(f"{line}\n" for line in [HEADER, *lines]), encoding="utf-8")
    return file
