"""A copy of the current counts in Redis, which may be empty, hang or be away at any time.

A count is set after its commit, with the number of its row in `space_count` as version. It expires 2 s after it was
computed, so it is never older, even if a newer one was not copied: the service was killed, Redis lost it, or the
database was restored.
"""

import datetime
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from eida_statistics.errors import ConfigurationError, EidaStatisticsError
from eida_stats_webservice.connections.live_counts import LiveCounts
from eida_stats_webservice.connections.models import Shown, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database, parse_time

LIFETIME = datetime.timedelta(seconds=2)
"""How long a count is shown after it was computed."""
HISTORY = "eida-statistics:recent-counts"
"""The key of the last counts of all spaces: a sorted set of JSON objects with their versions."""
HISTORY_LENGTH = 1000
_MILLISECOND = datetime.timedelta(milliseconds=1)
_PREFIX = "eida-statistics:count:"
_TIMEOUT_SECONDS = 0.2
# After a failure, so that a Redis that hangs delays few requests.
_PAUSE_SECONDS = 5
_SCRIPT = (Path(__file__).parent / "publish.lua").read_text()

log = logging.getLogger(__name__)


class RedisCounts(LiveCounts):
    """The copy in Redis, which threads can share.

    Args:
        client: the connection; its commands fail soon if Redis does not answer.
        read_recent: reads the newest counts from the database, at most as many as it is called with.
    """

    is_active = True

    def __init__(self, client: Redis, read_recent: Callable[[int], Sequence[Shown]]) -> None:
        self._client = client
        self._read_recent = read_recent
        self._script = client.register_script(_SCRIPT)
        self._usable_from = 0.0
        self._has_filled = False

    def publish(self, shown: Sequence[Shown]) -> None:
        """Copy counts of one transaction, which have been committed."""
        if not shown or self._is_pausing():
            return
        expires = min(one.created for one in shown) + LIFETIME
        arguments: list[str | int] = [int(expires.timestamp() * 1000), LIFETIME // _MILLISECOND, HISTORY_LENGTH]
        for one in shown:
            arguments += (one.version, one.count, _encode(one))
        try:
            had_history = self._script([HISTORY, *(_name_key(one.space) for one in shown)], arguments)
            if not (had_history and self._has_filled):
                self._fill_history()
        except RedisError as error:
            self._pause(error)

    def find(self, space: Space) -> int | None:
        """Return the count of a space, unless its key has expired or Redis fails."""
        if self._is_pausing():
            return None
        try:
            found = self._client.get(_name_key(space.name))
        except RedisError as error:
            self._pause(error)
            return None
        return None if found is None else int(str(found).partition(" ")[2])

    def is_up(self) -> bool:
        """Return whether Redis answers."""
        try:
            return bool(self._client.ping())
        except RedisError:
            return False

    def _fill_history(self) -> None:
        """Add the newest counts of the database: Redis was emptied, or counts may not have been copied."""
        try:
            recent = self._read_recent(HISTORY_LENGTH)
        except EidaStatisticsError:
            # The next count that is copied tries again.
            return
        if not recent:
            return
        with self._client.pipeline() as pipeline:
            pipeline.zadd(HISTORY, {_encode(one): one.version for one in recent})
            pipeline.zremrangebyrank(HISTORY, 0, -HISTORY_LENGTH - 1)
            pipeline.execute()
        self._has_filled = True

    def _is_pausing(self) -> bool:
        return time.monotonic() < self._usable_from

    def _pause(self, error: RedisError) -> None:
        if not self._is_pausing():
            log.warning("Redis does not answer (%s); the database does", type(error).__name__)
        self._usable_from = time.monotonic() + _PAUSE_SECONDS
        self._has_filled = False


def connect(url: str, database: Database, tables: ConnectionTables) -> RedisCounts:
    """Return the copy in the Redis of a URL.

    Raises:
        ConfigurationError: if the URL cannot be used. It does not quote it.
    """
    try:
        client = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # The error may quote parts of the URL.
        raise ConfigurationError("REDIS_URL cannot be used", hint="Set it like redis://localhost:6379/0.") from None
    return RedisCounts(client, partial(_read_recent, database, tables))


def _read_recent(database: Database, tables: ConnectionTables, most: int) -> list[Shown]:
    """Return the counts that were shown last."""
    with database.snapshot() as connection:
        return [
            Shown(version, space, parse_time(created), parse_time(recorded), count)
            for version, space, created, recorded, count in tables.queries.recent_counts(connection, most=most)
        ]


def _name_key(space: str) -> str:
    return f"{_PREFIX}{space.lower()}"


def _encode(shown: Shown) -> str:
    """Return an entry of the history; that of a version is always the same."""
    return msgspec.json.encode(shown).decode()
