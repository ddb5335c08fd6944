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


def sqlite_path(uri: str, name: str = "DATABASE_URI") -> Path | None:
    """Return the file that a URI names, or None if it names a PostgreSQL database.

    Args:
        uri: the URI of the database.
        name: what to call it in an error.

    Raises:
        ConfigurationError: if it names neither; the URI itself, which may hold a password, is not in it.
    """
    if uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        if odd := re.search("[%?#]", uri):
            # To yoyo these begin something else, so that it would migrate another file.
            raise ConfigurationError(
                f"{name} has {odd[0]} in the path of the SQLite database", hint="Rename the file."
            )
        return Path(uri.removeprefix(SQLITE))
    if uri.startswith(POSTGRESQL):
        _check(uri, name)
        return None
    raise ConfigurationError(f"{name} names no database", hint=_HINT)


def _check(uri: str, name: str) -> None:
    if not _is_understood(uri):
        raise ConfigurationError(
            f"{name} cannot be understood",
            hint=f"{_HINT} In a password, write @ : / ? # % as %40 and the like.",
        )


def _is_understood(uri: str) -> bool:
    """Return whether psycopg2 and yoyo understand a URI. Their errors would quote parts of it."""
    try:
        extensions.parse_dsn(uri)
        parts = urlsplit(uri)
        _ = parts.port
    except (ValueError, psycopg2.ProgrammingError):
        return False
    # The part after an @ in a password would be taken for the host, and be in messages.
    return uri.count("@") < 2 and "@" not in uri.removeprefix(f"{parts.scheme}://{parts.netloc}")
