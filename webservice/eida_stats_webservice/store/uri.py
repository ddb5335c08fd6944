"""Which database a URI means."""

from pathlib import Path

from eida_statistics.errors import ConfigurationError

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")


def sqlite_path(uri: str) -> Path | None:
    """Give the file that a URI names, or None if it names a PostgreSQL database.

    Raises:
        ConfigurationError: if it names neither; the URI itself, which may hold a password, is not in it.
    """
    if uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        return Path(uri.removeprefix(SQLITE))
    if uri.startswith(POSTGRESQL):
        return None
    raise ConfigurationError(
        "DATABASE_URI names no database",
        hint="It begins with postgresql:// (as postgresql://user:password@host/database) or sqlite:/// and a path.",
    )
