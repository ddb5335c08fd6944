"""The layers of files of which GDAL wrote the metadata, as GSKY's crawler writes them."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import msgspec

from eida_stats_webservice.archive.paths.parameters import PathQuery

_MEMBERS = (
    *("array_type", "timestamps", "polygon", "overviews", "means", "sample_counts", "nodata", "axes", "geo_loc"),
)
_RENAMED = {"srs": "proj_wkt", "geo_transform": "geotransform"}
_UNUSUAL = re.compile(r"[^A-Za-z0-9_]")


class Layer(NamedTuple):
    """A layer of a file.

    Attributes:
        namespace: its name.
        stamps: its times.
        document: its description for a client.
    """

    namespace: str
    stamps: tuple[datetime, ...]
    document: Mapping[str, Any]


def parse_layers(path: str, text: str) -> Iterator[Layer]:
    """Yield the layers of a file. Those with a time that cannot be read are left out."""
    metadata = msgspec.json.decode(text)
    layers = metadata.get("geo_metadata")
    for found in layers if isinstance(layers, list) else []:
        if isinstance(found, dict) and (stamps := _parse_stamps(found.get("timestamps"))) is not None:
            namespace = normalise_namespace(str(found.get("namespace") or ""))
            document = {
                "file_path": metadata.get("filename", path),
                "ds_name": found.get("ds_name"),
                "namespace": namespace,
                **{name: found.get(member) for name, member in _RENAMED.items()},
                **{name: found.get(name) for name in _MEMBERS},
            }
            yield Layer(namespace, stamps, document)


def normalise_namespace(text: str) -> str:
    """Return the name of a layer, as GSKY shows it."""
    return _UNUSUAL.sub("_", text.strip())


def has_namespace(layer: Layer, query: PathQuery) -> bool:
    """Return whether a query selects the name of a layer."""
    return query.namespaces is None or any(fnmatchcase(layer.namespace, name) for name in query.namespaces)


def has_time(layer: Layer, query: PathQuery) -> bool:
    """Return whether a query selects the times of a layer. A moment has to be one of them."""
    if query.time is None and query.until is None:
        return True
    if not layer.stamps:
        return False
    if query.until is None:
        return query.time in layer.stamps
    start, stop = query.overlapped
    return min(layer.stamps) <= stop and max(layer.stamps) >= start


def _parse_stamps(found: object) -> tuple[datetime, ...] | None:
    try:
        stamps = [datetime.fromisoformat(stamp) for stamp in found] if isinstance(found, list) else []
        return tuple((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC) for stamp in stamps)
    except (TypeError, ValueError, OverflowError):
        return None
