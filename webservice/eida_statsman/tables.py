"""Print records as a table for people or as JSON for programs."""

import datetime
from collections.abc import Mapping, Sequence

import click
import msgspec
from rich.table import Table

from eida_statistics.terminal import fits, print_table


def show(
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, str],
    *,
    as_json: bool,
    spare: Sequence[str] = (),
) -> None:
    """Print rows as a table with these columns, or all fields as a JSON array.

    `spare` are the fields to leave out, in this order, if the terminal is too narrow.
    """
    if as_json:
        show_json(rows)
        return
    shown = {field: heading for field, heading in columns.items() if field not in spare}
    for field in reversed(spare):
        with_it = {name: heading for name, heading in columns.items() if name in shown or name == field}
        if fits(_create_table(rows, with_it)):
            shown = with_it
    print_table(_create_table(rows, shown))
    if len(shown) < len(columns):
        left_out = ", ".join(heading for field, heading in columns.items() if field not in shown)
        click.echo(f"(not shown: {left_out}; see --json)", err=True)


def _create_table(rows: Sequence[Mapping[str, object]], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_format_value(row[field]) for field in columns))
    return table


def show_json(found: object) -> None:
    """Print a value as JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())


def _format_value(value: object) -> str:
    if isinstance(value, datetime.datetime):
        return f"{value.astimezone(datetime.UTC):%Y-%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
