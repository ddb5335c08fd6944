"""The copy of the current counts: none by default, or one in Redis. The database answers what a copy lacks."""

from collections.abc import Sequence
from typing import ClassVar

from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.connections.models import Shown, Space
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.database.base import Database


class LiveCounts:
    """No copy. `RedisCounts` overrides the methods."""

    is_active: ClassVar = False
    """Whether there is a copy."""

    def publish(self, shown: Sequence[Shown]) -> None:
        """Copy counts, which have been committed. It raises no exception if the copy cannot be reached."""

    def find(self, _space: Space) -> int | None:
        """Return the count of a space, or None if the copy has none."""
        return None

    def is_up(self) -> bool | None:
        """Return whether the copy can be reached; None without one."""
        return None


def open_live_counts(redis_url: str, database: Database, tables: ConnectionTables) -> LiveCounts:
    """Return the copy in Redis, or none if the URL is empty. It connects at its first use.

    Raises:
        ConfigurationError: if the URL cannot be used, or the package redis is missing. It does not quote the URL,
            which may have a password.
    """
    if not redis_url:
        return LiveCounts()
    try:
        # Only installations with Redis have its package.
        from eida_stats_webservice.connections.redis_counts import connect  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"REDIS_URL needs the package {error.name}", hint="Install eida-statistics[webservice,redis]."
        ) from error
    return connect(redis_url, database, tables)
