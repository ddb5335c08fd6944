"""The administrator's command."""

import os
import subprocess
from pathlib import Path

from support.commands import run_command


class Statsman:
    def __init__(self, uri: str) -> None:
        self.uri = uri
        settings = {"DATABASE_URI_FILE", "EIDA_STATS_CONFIG"}
        kept = {name: value for name, value in os.environ.items() if name not in settings}
        self._environment = kept | {"DATABASE_URI": uri, "COLUMNS": "100"}

    def __call__(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return run_command(
            "eida_statsman", words, folder=Path.cwd(), environment=self._environment, stdin=typed.encode()
        )

    def set(self, **variables: str) -> None:
        """Set variables of the environment for further commands."""
        self._environment |= variables

    def unset(self, variable: str) -> None:
        """Remove a variable from the environment of further commands."""
        del self._environment[variable]

    def run(self, *words: str, typed: str = "") -> str:
        """Run a command that must succeed, and return its output."""
        finished = self(*words, typed=typed)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout
