"""Install the package as operators do.

The environment of developers has an editable installation, with which Python takes 0.02 s longer to start.
"""

import subprocess
import sys
from pathlib import Path

from support.wheels import build_wheel

_ENVIRONMENT = "environment"


def install(folder: Path) -> None:
    """Install the package in a virtual environment in a folder."""
    environment = folder / _ENVIRONMENT
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    # Isolated, or it could find the checkout and install nothing.
    pip = [str(environment / "bin/python"), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, build_wheel(folder)], check=True)


def find_command(folder: Path, name: str) -> Path:
    """Return the path of a command that was installed in a folder."""
    return folder / _ENVIRONMENT / "bin" / name
