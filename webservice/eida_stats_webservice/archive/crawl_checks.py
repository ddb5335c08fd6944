"""Check a crawl by its first line, when it is received and when it is ingested."""

import datetime

from eida_statistics.archive.errors import InvalidCrawl
from eida_statistics.archive.paths import is_normal, is_within
from eida_statistics.times import format_utc

_CLOCKS = datetime.timedelta(days=1)


def check_root(root: str, shard_path: str) -> None:
    """Check that the paths of a crawl are those of a shard.

    Raises:
        InvalidCrawl: if they are not.
    """
    if not is_normal(root) or not is_within(root, shard_path):
        raise InvalidCrawl(
            f"its paths begin with {root!r}, which is not within {shard_path}, the path of the shard",
            hint=f"Crawl again: eida_archive crawl ROOT --as {shard_path}",
        )


def check_start(started: datetime.datetime) -> None:
    """Check that a crawl did not begin in the future. Otherwise all later ones would be refused as older.

    Raises:
        InvalidCrawl: if it did, by more than a clock may be wrong.
    """
    if started > datetime.datetime.now(tz=datetime.UTC) + _CLOCKS:
        raise InvalidCrawl(
            f"it began at {format_utc(started)}", hint="Correct the clock of the node, and crawl again."
        )
