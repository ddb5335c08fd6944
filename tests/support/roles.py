"""The roles of the service and of Grafana, with exactly the rights that an administrator grants them."""

from contextlib import closing

import psycopg2

from eida_stats_webservice.database import grants
from eida_stats_webservice.database.uri import parse_sqlite_path
from support.postgresql import SUPERUSER

SERVICE = "eida_service"
GRAFANA = "grafana"

# As in the administrator's README.
_MAKE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        CREATE ROLE {role} LOGIN;
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END
$$
"""


def grant_service(uri: str) -> str:
    """Return the URI with which the service connects to a migrated database. An embedded store has no roles."""
    if parse_sqlite_path(uri) is not None:
        return uri
    _make(uri, SERVICE)
    grants.apply(uri, SERVICE)
    return _name(uri, SERVICE)


def grant_grafana(uri: str) -> str:
    """Return the URI with which Grafana connects to a migrated database."""
    _make(uri, GRAFANA)
    grants.apply(uri, GRAFANA, grants.read_dashboard_grants())
    return _name(uri, GRAFANA)


def _make(uri: str, role: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_MAKE.format(role=role))


def _name(uri: str, role: str) -> str:
    connecting = uri.replace(f"{SUPERUSER}@", f"{role}@", 1)
    assert connecting != uri
    return connecting
