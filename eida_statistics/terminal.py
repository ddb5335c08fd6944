"""Tables for terminals, and for programs that read lines."""

from rich.console import Console
from rich.table import Table

_ENDLESS = 10_000


def fits(table: Table) -> bool:
    """Return whether the rows of a table are one line each: on a terminal only if it is wide enough."""
    console = Console()
    unlimited = console.options.update(max_width=_ENDLESS)
    return not console.is_terminal or console.measure(table, options=unlimited).maximum <= console.width


def print_table(table: Table) -> None:
    """Print a table. Where standard output is no terminal, each row is one line, without blanks at its end."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = _ENDLESS
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        console.out(line.rstrip())
