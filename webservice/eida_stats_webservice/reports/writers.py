"""Write reports as JSON, CSV and Markdown."""

import csv
import io

import msgspec

from eida_stats_webservice.reports.kinds import KINDS
from eida_stats_webservice.reports.models import SCHEMA, Report
from eida_stats_webservice.reports.page import Page, make_page
from eida_stats_webservice.reports.sections import Table
from eida_stats_webservice.reports.view import ALL_ROWS, Layout


def write_json(report: Report, _layout: Layout = ALL_ROWS) -> bytes:
    """Return a report as a JSON document, which has all rows in any layout."""
    document = {"schema": SCHEMA, **msgspec.structs.asdict(report), "rows": _flatten_rows(report)}
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def write_csv(report: Report, _layout: Layout = ALL_ROWS) -> bytes:
    """Return all rows of a report as CSV. None is empty; a network or country NA stays text."""
    text = io.StringIO()
    rows = _flatten_rows(report)
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _flatten_rows(report: Report) -> list[dict[str, object]]:
    """Return all rows as flat objects with the columns of their kind."""
    names = [record.name for record in report.comparisons]
    return [row.flatten(KINDS[report.scope.kind].sums, names) for row in report.rows]


def write_markdown(report: Report, layout: Layout = ALL_ROWS) -> bytes:
    """Return a report as Markdown."""
    page = make_page(report, layout)
    return "\n\n".join(_list_blocks(page)).encode() + b"\n"


def _list_blocks(page: Page) -> list[str]:
    blocks = [f"# {_escape(page.title)}", _escape(page.subtitle)]
    if page.about or page.doi:
        blocks.append(_escape(f"{page.about} {page.doi}".strip()))
    if page.note:
        blocks.append(f"> **{_escape(page.note[0])}** {_escape(' '.join(page.note[1:]))}")
    if page.headlines:
        blocks.append(
            "\n".join(
                f"* {one.label}: **{' '.join(filter(None, (one.value, one.unit)))}**"
                + "".join(f" ({line})" for line in one.lines)
                for one in page.headlines
            )
        )
    if page.empty:
        last = f"; the last ones are of {page.last_month}" if page.last_month else ""
        blocks.append(f"{page.empty}{last}.")
    for section in page.sections:
        blocks += [f"## {section.heading}", *([section.introduction] if section.introduction else [])]
        blocks.append(_write_table(section.table))
    if page.reading:
        blocks += ["## How to read this", "\n".join(f"* {one}" for one in page.reading)]
    return [*blocks, page.footer]


def _write_table(table: Table) -> str:
    lines = [
        [column.head for column in table.columns],
        ["---:" if column.is_number else "---" for column in table.columns],
        *([_escape(cell) for cell in row] for row in table.rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    """Return text in which nothing is markup."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>|#" else character for character in text)
