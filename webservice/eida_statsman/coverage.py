"""eida_statsman coverage: a calendar of the days that a node has reported."""

import calendar
import datetime
from collections import Counter

import click
from rich.console import Console
from rich.text import Text

from eida_statistics.payload import EARLIEST_DAY, Period
from eida_stats_webservice.payloads.kinds import Kind
from eida_statsman.kinds import KIND, parse_kind
from eida_statsman.nodes import require_printable
from eida_statsman.repositories import Repositories
from eida_statsman.tables import show_json

_MAX_DIGIT = 9


@click.command()
@click.option("--node", required=True, callback=require_printable, help="The node.")
@click.option("--year", type=click.IntRange(EARLIEST_DAY.year, 9999), help="The year.  [default: this year]")
@click.option(
    "--kind",
    default=Kind.DATASELECT.value,
    show_default=True,
    type=KIND,
    callback=parse_kind,
    help="The kind of payloads.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the number of payloads for each day.")
@click.pass_obj
def coverage(repositories: Repositories, node: str, year: int | None, kind: Kind, as_json: bool) -> None:
    """Show the days of a year that a node has reported, with or without requests."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    year = year or today.year
    whole = Period(datetime.date(year, 1, 1), datetime.date(year, 12, 31))
    with repositories.database.transaction() as connection:
        repositories.registry.find_id(connection, node)
        received = repositories.payloads.list_received_days(connection, whole, kind)
    counts = Counter(day for one in received if one.node == node for day in one.days.days() if day.year == year)
    if as_json:
        show_json(dict(sorted(counts.items())))
        return
    console = Console(highlight=False)
    past = [day for day in whole.days() if day < today]
    name = node if kind is Kind.DATASELECT else f"{node} {kind}"
    console.print(f"{name} {year}: {sum(day in counts for day in past)} of {len(past)} days")
    console.print("     1   5    10   15   20   25   30", style="dim")
    for month in range(1, 13):
        line = Text(f"{calendar.month_abbr[month]}  ")
        for day in (day for day in whole.days() if day.month == month):
            line.append(*_format_day(counts[day], missing=day < today))
        console.print(line)
    console.print("■ one payload   2–9 number of payloads   · missing", style="dim")


def _format_day(count: int, *, missing: bool) -> tuple[str, str]:
    if count == 0:
        return ("·", "red") if missing else (" ", "")
    return ("■", "green") if count == 1 else (str(min(count, _MAX_DIGIT)), "yellow")
