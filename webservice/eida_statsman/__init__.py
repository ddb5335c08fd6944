"""The administrator's command."""

import sys


def main() -> None:
    """Run the command, or say what is missing where only the aggregator is installed."""
    try:
        from eida_statsman.cli import main as run  # noqa: PLC0415 - it needs what may be missing

        run()
    except ModuleNotFoundError as error:
        hint = "In a checkout of the project: pip install '.[webservice]'"
        sys.exit(f"eida_statsman needs {error.name}, which is not installed. {hint}")
