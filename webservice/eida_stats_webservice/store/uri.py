"""Which database a URI means."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import extensions

from eida_statistics.errors import ConfigurationError

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")

_HINT = "It begins with postgresql:// (as postgresql://user:password@host/database) or sqlite:/// and a path."


def sqlite_path(uri: str) -> Path | None:
    """Give the file that a URI names, or None if it names a PostgreSQL database.

    Raises:
        ConfigurationError: if it names neither; the URI itself, which may hold a password, is not in it.
    """
    if uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        if odd := re.search("[%?#]", uri):
            # To yoyo these begin something else, so that it would migrate another file.
            raise ConfigurationError(
                f"DATABASE_URI has {odd[0]} in the path of the SQLite database", hint="Give the file another name."
            )
        return Path(uri.removeprefix(SQLITE))
    if uri.startswith(POSTGRESQL):
        _check(uri)
        return None
    raise ConfigurationError("DATABASE_URI names no database", hint=_HINT)


def _check(uri: str) -> None:
    """Refuse what psycopg2 or yoyo does not understand; what they say of it quotes parts."""
    try:
        extensions.parse_dsn(uri)
        _ = urlsplit(uri).port
    except (ValueError, psycopg2.ProgrammingError):
        raise ConfigurationError(
            "DATABASE_URI cannot be understood",
            hint=f"{_HINT} In a password, write @ : / ? # % as %40 and the like.",
        ) from None
