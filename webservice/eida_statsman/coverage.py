"""eida_statsman coverage: a calendar of the days that a node has reported."""

import calendar
import datetime
from collections import Counter

import click
from rich.console import Console
from rich.text import Text

from eida_statistics.months import find_last_day
from eida_stats_webservice.reports.coverage import list_days
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show_json

_MAX_DIGIT = 9


@click.command()
@click.option("--node", required=True, callback=require_printable, help="The node.")
@click.option("--year", type=click.IntRange(1990, 9999), help="The year.  [default: this year]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the number of payloads for each day.")
@click.pass_obj
def coverage(repositories: Repositories, node: str, year: int | None, as_json: bool) -> None:
    """Show the days of a year that a node has reported, with or without requests."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    year = year or today.year
    first, last = datetime.date(year, 1, 1), datetime.date(year, 12, 31)
    with repositories.database.transaction() as connection:
        repositories.registry.find_id(connection, node)
        received = repositories.payloads.list_received_days(connection, first, last)
    counts = Counter(
        day
        for one in received
        if one.node == node
        for day in list_days(max(one.first_day, first), min(one.last_day, last))
    )
    if as_json:
        show_json(dict(sorted(counts.items())))
        return
    console = Console(highlight=False)
    past = [day for month in range(1, 13) for day in _list_days(year, month) if day < today]
    console.print(f"{node} {year}: {sum(day in counts for day in past)} of {len(past)} days")
    console.print("     1   5    10   15   20   25   30", style="dim")
    for month in range(1, 13):
        line = Text(f"{calendar.month_abbr[month]}  ")
        for day in _list_days(year, month):
            line.append(*_format_day(counts[day], missing=day < today))
        console.print(line)
    console.print("■ one payload   2–9 number of payloads   · missing", style="dim")


def _list_days(year: int, month: int) -> list[datetime.date]:
    first = datetime.date(year, month, 1)
    return [first.replace(day=day) for day in range(1, find_last_day(first).day + 1)]


def _format_day(count: int, *, missing: bool) -> tuple[str, str]:
    if count == 0:
        return ("·", "red") if missing else (" ", "")
    return ("■", "green") if count == 1 else (str(min(count, _MAX_DIGIT)), "yellow")
