"""The wheel of the project."""

import shutil
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT


def build_wheel(folder: Path) -> Path:
    """Build the wheel in a folder, and return its path."""
    # From a copy without the files of earlier builds, which setuptools would put into the wheel.
    source = folder / "source"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "demo-output", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True)
    (built,) = folder.glob("*.whl")
    return built
