"""Write pictures of the pages and reports, to look at: make screenshots."""

import datetime
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from eida_statistics.months import list_months
from eida_stats_webservice.database import migrations
from support.browser import launch_browser
from support.federation import fill
from support.ringserver_federation import fill_streaming
from support.service import Service
from support.stores import open_store

NODES = ("ALPS", "COAST", "EAST", "ISLES", "NORTH", "SOUTH", "WEST")
GAPS = {
    "COAST": [(datetime.date(2024, 11, 11), datetime.date(2024, 11, 11))],
    "NORTH": [(datetime.date(2024, 3, 10), datetime.date(2024, 3, 19))],
    "SOUTH": [(datetime.date(2023, 8, 1), datetime.date(2023, 9, 30))],
}
YEAR = "start=2024-01&end=2024-12"
PAGES = {
    "federation": f"?{YEAR}",
    "node": f"?{YEAR}&node=NORTH&show=requests",
    "network": "?start=2023-01&end=2024-12&network=GE&show=clients",
    "error": f"?{YEAR}&network=GF",
    "restricted": f"?{YEAR}&network=A0",
    "empty": "?start=2025-03&end=2025-04",
    "report": f"report?{YEAR}",
    "streaming": f"?{YEAR}&kind=ringserver",
    "streaming-packets": f"?{YEAR}&kind=ringserver&show=packets&node=NORTH&compare=none",
    "streaming-none": f"?{YEAR}&kind=ringserver&node=WEST",
    "streaming-report": f"report?{YEAR}&kind=ringserver",
}
PDFS = ("report", "streaming-report")
MODES: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1000, "height": 700}},
    "dark": {"viewport": {"width": 1000, "height": 700}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 800}},
}


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default="screenshots")
def main(directory: Path) -> None:
    """Write pictures of all pages in light and dark mode, on a phone, and as PDF into DIRECTORY."""
    directory.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'statistics.db'}"
        migrations.apply(uri)
        with closing(open_store(uri)) as store:
            fill(store, NODES, [2023, 2024], gaps=GAPS, networks=4, clients=6000)
            months = list_months(datetime.date(2023, 1, 1), datetime.date(2024, 12, 1))
            fill_streaming(store, NODES[:5], months, gaps=GAPS, networks=4, clients=4000)
            store.registry.set_network_policy("ALPS", "A0", inverted=True)
        with Service(uri, Path(folder), workers=1) as service:
            for written in _take(f"{service.url}/", directory):
                print(written)
    for name in PDFS:
        pdf = directory / f"{name}.pdf"
        subprocess.run(["pdftoppm", "-r", "60", "-png", pdf, directory / f"{name}-pdf"], check=True)


def _take(url: str, directory: Path) -> Iterator[Path]:
    with launch_browser() as browser:
        for (mode, options), (name, path) in product(MODES.items(), PAGES.items()):
            with browser.new_context(**options) as context:
                page = context.new_page()
                page.goto(f"{url}{path}")
                picture = directory / f"{name}-{mode}.png"
                page.screenshot(path=picture, full_page=True)
                yield picture
        with browser.new_context() as context:
            for name in PDFS:
                pdf = context.request.get(f"{url}{PAGES[name]}&format=pdf")
                (directory / f"{name}.pdf").write_bytes(pdf.body())
                yield directory / f"{name}.pdf"


if __name__ == "__main__":
    sys.exit(main())
