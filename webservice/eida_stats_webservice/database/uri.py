"""Parse the URI of a database."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from psycopg2 import extensions

from eida_statistics.errors import ConfigurationError

SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql://", "postgres://")

_HINT = "Use postgresql://user:password@host/database, or sqlite:/// and a path."


def parse_sqlite_path(uri: str, name: str = "DATABASE_URI") -> Path | None:
    """Return the path of an SQLite database, or None for a PostgreSQL database. Errors call the setting `name`.

    Raises:
        ConfigurationError: if it is neither. The message never quotes the URI, which may contain a password.
    """
    if uri.startswith(SQLITE) and len(uri) > len(SQLITE):
        if odd := re.search("[%?#]", uri):
            # yoyo gives these characters a meaning, and would migrate another file.
            raise ConfigurationError(
                f"{name} contains {odd[0]} in the path of the SQLite database", hint="Rename the file."
            )
        return Path(uri.removeprefix(SQLITE))
    if uri.startswith(POSTGRESQL):
        if not _can_parse(uri):
            hint = f"{_HINT} In a password, write @ : / ? # % as %40 and the like."
            raise ConfigurationError(f"{name} cannot be parsed", hint=hint)
        return None
    raise ConfigurationError(f"{name} is not the URI of a database", hint=_HINT)


def _can_parse(uri: str) -> bool:
    """Return whether psycopg2 and yoyo can parse a URI. Their errors would quote parts of it."""
    try:
        extensions.parse_dsn(uri)
        parts = urlsplit(uri)
        _ = parts.port
    except (ValueError, psycopg2.ProgrammingError):
        return False
    # Text after an unescaped @ in a password would be read as the host, and appear in messages.
    return uri.count("@") < 2 and "@" not in uri.removeprefix(f"{parts.scheme}://{parts.netloc}")
