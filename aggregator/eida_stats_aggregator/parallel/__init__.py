"""Logs shared out to processes, or to a Dask cluster."""
