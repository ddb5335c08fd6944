"""The directory in which all processes of the service count together."""

import os
import shutil
import tempfile
from pathlib import Path

# If it is set before prometheus_client is imported, all processes count together, in files of this directory.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRICS_PREFIX = "eida-statistics-metrics-"


def make_metrics_directory() -> None:
    """Create the directory in which the workers count together; this process becomes their master."""
    os.environ[METRICS_VARIABLE] = tempfile.mkdtemp(prefix=f"{METRICS_PREFIX}{os.getpid()}-", dir=_find_parent())


def remove_abandoned_metrics() -> None:
    """Remove the directories of killed masters, but not those of other users."""
    for directory in Path(_find_parent()).glob(f"{METRICS_PREFIX}*-*"):
        owner = directory.name.removeprefix(METRICS_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(directory, ignore_errors=True)


def is_directory_ours() -> bool:
    """Return whether `make_metrics_directory` has created the directory of the metrics."""
    return Path(os.environ.get(METRICS_VARIABLE, "")).name.startswith(METRICS_PREFIX)


def _find_parent() -> str:
    """Return the runtime directory of systemd, which is never cleaned, or else the temporary directory."""
    runtime_directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return runtime_directory if os.access(runtime_directory, os.W_OK) else tempfile.gettempdir()
