"""Metadata of rasters in the form in which the crawler of GSKY writes them."""

import json
from typing import Any

from eida_statistics.archive.lines import CrawlLine

ALBERS = {
    "proj_wkt": (
        'PROJCS["Test Albers",GEOGCS["GRS80",DATUM["unknown",SPHEROID["GRS 1980",6378137,298.257222101]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Albers_Conic_Equal_Area"],'
        'PARAMETER["standard_parallel_1",35],PARAMETER["standard_parallel_2",55],PARAMETER["latitude_of_center",0],'
        'PARAMETER["longitude_of_center",15],PARAMETER["false_easting",0],PARAMETER["false_northing",0],'
        'UNIT["metre",1]]'
    ),
    # GDAL ends its text with a space.
    "proj4": "+proj=aea +lat_1=35 +lat_2=55 +lat_0=0 +lon_0=15 +x_0=0 +y_0=0 +ellps=GRS80 +units=m +no_defs ",
}
_SQUARE = "POLYGON ((0 5000000,100000 5000000,100000 4900000,0 4900000,0 5000000))"


def make_layer(namespace: str, **members: Any) -> dict[str, Any]:
    """Return a layer of a square of 100 km, about 15° E to 16.3° E and 46.8° N to 47.6° N."""
    return {
        "ds_name": f'NETCDF:"/GFZ/archive/rain.nc":{namespace}',
        "namespace": namespace,
        "array_type": "Float32",
        "raster_count": 1,
        "timestamps": ["2016-10-31T23:59:59Z", "2016-09-30T23:59:59Z"],
        "x_size": 4000,
        "y_size": 4000,
        "geotransform": [0, 25, 0, 5000000, 0, -25],
        "polygon": _SQUARE,
        **ALBERS,
        **members,
    }


def describe_raster(path: str, *layers: object) -> CrawlLine:
    """Return the line of type `gdal` of a path."""
    content = {"filename": path, "file_type": "netCDF", "geo_metadata": list(layers)}
    return CrawlLine(path, "gdal", json.dumps(content).encode())
