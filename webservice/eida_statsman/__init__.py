"""The administrator's command."""

import sys


def main() -> None:
    """Run the command, or explain what to install if the web service is missing."""
    try:
        from eida_statsman.cli import main as run  # noqa: PLC0415 - its imports may be missing

        run()
    except ModuleNotFoundError as error:
        hint = "In a checkout of the project, run: pip install '.[webservice]'"
        sys.exit(f"eida_statsman needs {error.name}, which is not installed. {hint}")
