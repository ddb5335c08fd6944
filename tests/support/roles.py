"""The role of the service, with exactly the rights that an administrator grants it."""

from contextlib import closing

import psycopg2

from eida_stats_webservice.database import grants
from eida_stats_webservice.database.uri import parse_sqlite_path
from support.postgresql import SUPERUSER

SERVICE = "eida_service"

# As in the administrator's README.
_MAKE = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{SERVICE}') THEN
        CREATE ROLE {SERVICE} LOGIN;
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$
"""


def grant_service(uri: str) -> str:
    """Return the URI with which the service connects to a migrated database. An embedded store has no roles."""
    if parse_sqlite_path(uri) is not None:
        return uri
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_MAKE)
    grants.apply(uri, SERVICE)
    connecting = uri.replace(f"{SUPERUSER}@", f"{SERVICE}@", 1)
    assert connecting != uri
    return connecting
