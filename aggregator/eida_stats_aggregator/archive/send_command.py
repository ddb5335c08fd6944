"""The command `eida_archive send`: options, exit codes, wiring."""

import datetime
from pathlib import Path

import click

from eida_statistics.archive.crawl_ends import read_ends
from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.shards import check_code
from eida_stats_aggregator.command import FILE, RETRIES, load_token, token_options
from eida_stats_aggregator.console import complain
from eida_stats_aggregator.delivery.crawls import CrawlClient, CrawlReceipt
from eida_stats_aggregator.notices import make_token_notices

_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  the file is no complete crawl
  2  the command line is wrong
  3  the crawl could not be sent
  4  done, but look at the warnings
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("crawl", type=FILE)
@click.option("--to", "url", required=True, metavar="URL", help="The central service.")
@click.option("--shard", required=True, metavar="CODE", help="The code of the archive at the centre.")
@token_options
@click.option(
    "--retries", type=click.IntRange(0, 100), default=RETRIES, show_default=True, help="Number of retries."
)
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors and warnings.")
def send(
    crawl: Path, url: str, shard: str, token: str | None, token_file: Path | None, retries: int, quiet: bool
) -> int:
    """Send CRAWL, the file that `eida_archive crawl` has written, to the central service.

    If it fails, run it again. The service stores the same crawl once.
    """
    check_code(shard)
    client = CrawlClient(url, load_token(url, token, token_file, "--to"), shard, retries=retries)
    with crawl.open("rb") as file:
        try:
            read_ends(file)
        except InvalidCrawl as error:
            raise InvalidCrawl(f"{crawl}: {error.subject}", hint="Crawl again.") from error
        file.seek(0)
        receipt = client.send(file)
    if not quiet:
        state = "sent" if receipt.status == "stored" else "the service has it already"
        click.echo(f"{crawl} to {client.url}: {state}")
    warnings = _list_warnings(client, receipt)
    for warning in warnings:
        complain(f"warning: {warning}")
    return 4 if warnings else 0


def _list_warnings(client: CrawlClient, receipt: CrawlReceipt) -> list[str]:
    now = datetime.datetime.now(tz=datetime.UTC)
    notices = [notice.text for notice in make_token_notices(client.token_valid_until, now)]
    if receipt.refused is not None:
        notices.append(f"the service has not ingested this crawl: {' '.join(receipt.refused.split())}")
    return notices
