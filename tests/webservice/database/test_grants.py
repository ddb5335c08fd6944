"""The role of the service, created as in the administrator's README, has exactly the rights that it needs."""

import datetime
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from flask.testing import FlaskClient
from psycopg2.errors import InsufficientPrivilege

from eida_statistics.connections import Command, encode_records
from eida_statistics.errors import ConfigurationError
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.database import grants, migrations
from eida_stats_webservice.errors import DatabaseForbidden, DatabaseNotReady, UnknownRole
from support import issued
from support.dates import DAY
from support.doors import close_after, connect, put, snapshot, step
from support.node_client import make_node
from support.paths import ROOT
from support.payloads import row, wire
from support.postgresql import Cluster
from support.sent_crawls import make_crawl
from support.service import PREFIX, fetch_rows
from support.stores import open_store
from support.timelines import AVAILABILITY

README = ROOT / "webservice" / "README.md"
NAME = "eida_statistics"
METRICS_TOKEN = issued.note("token-of-prometheus")

FORBIDDEN = [
    "DROP TABLE payloads",
    "TRUNCATE dataselect_stats",
    "DELETE FROM payloads",
    "UPDATE payloads SET body = ''",
    "UPDATE payloads SET source = 'mine'",
    "UPDATE payloads SET period_end = '2020-01-01'",
    "UPDATE payloads SET hash = content",
    "INSERT INTO payloads (id) VALUES (1)",
    "INSERT INTO payloads (created_at) VALUES ('2020-01-01')",
    "DELETE FROM payload_days",
    "ALTER TABLE nodes ADD COLUMN colour text",
    "CREATE TABLE mine (number integer)",
    "CREATE SCHEMA mine",
    "UPDATE nodes SET name = 'MINE'",
    "UPDATE nodes SET restriction_policy = false",
    "UPDATE nodes SET eas_group = 'mine'",
    "INSERT INTO nodes (name, contact) VALUES ('MINE', '')",
    "DELETE FROM nodes",
    "INSERT INTO tokens (node_id, value, valid_from, valid_until) VALUES (1, repeat('a', 64), now(), 'infinity')",
    "UPDATE tokens SET valid_until = 'infinity'",
    "DELETE FROM tokens",
    "INSERT INTO networks (node_id, name, inverted_policy) VALUES (1, 'XX', true)",
    "INSERT INTO networks (node_id, name, eas_group) VALUES (1, 'XX', 'mine')",
    "UPDATE networks SET inverted_policy = true",
    "DELETE FROM networks",
    "UPDATE sensor_log SET recorded = now()",
    "DELETE FROM sensor_log",
    "TRUNCATE sensor_log",
    "UPDATE sensor_events SET placed = true",
    "UPDATE spaces SET restricted = false",
    "UPDATE sensors SET open = true",
    "UPDATE installations SET removed_at = now()",
    "INSERT INTO recounts (space_id, recorded, count, author, created) VALUES (1, now(), 1, '', now())",
    "UPDATE connections_archived SET events_from = '2020-01-01'",
    "UPDATE crawls SET ingested = now()",
    "DELETE FROM crawl_pieces",
    "SELECT content FROM crawl_pieces",
    "UPDATE shards SET open_paths = true",
    "DELETE FROM shards",
    "SELECT contact FROM nodes",
    "SELECT * FROM yoyo_lock",
    "GRANT SELECT ON nodes TO PUBLIC",
]

# The parts of a right that can be revoked: on tables, columns and the database.
RIGHTS = """
SELECT format('%s ON %I', privilege_type, relname)
FROM pg_class, aclexplode(relacl) WHERE grantee = 'eida_service'::regrole
UNION ALL
SELECT format('%s (%I) ON %I', privilege_type, attname, relname)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl)
WHERE grantee = 'eida_service'::regrole
UNION ALL
SELECT format('%s ON DATABASE %I', privilege_type, datname)
FROM pg_database, aclexplode(datacl) WHERE grantee = 'eida_service'::regrole AND datname = current_database()
ORDER BY 1
"""


class Roles(NamedTuple):
    """URIs of one database, as its owner and as the service."""

    owner: str
    service: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Start another cluster than that of the other tests, since all databases of a cluster share its roles."""
    with Cluster() as running:
        yield running


@pytest.fixture
def roles(cluster: Cluster) -> Iterator[Roles]:
    """Create the database and the roles of the README."""
    (script,) = re.findall(r"^```sql\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    cluster.psql("postgres", script)
    uri = cluster.uri(NAME)
    yield Roles(*(uri.replace("postgres@", f"{role}@") for role in ("eida_owner", "eida_service")))
    cluster.drop_database(NAME)
    cluster.psql("postgres", "DROP ROLE eida_owner; DROP ROLE eida_service;")


@pytest.fixture
def granted_roles(roles: Roles) -> Roles:
    migrations.apply(roles.owner)
    grants.apply(roles.owner, "eida_service")
    return roles


def execute(uri: str, *statements: str) -> None:
    with closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def read_rights(roles: Roles) -> list[str]:
    with closing(psycopg2.connect(roles.owner)) as connection:
        return [right for (right,) in fetch_rows(connection, RIGHTS)]


class Tour:
    """Send every kind of request once. Each tour uses another node, so that it can be repeated."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._number = 0

    def send_all(self) -> Iterator[tuple[str, int]]:
        """Send one request after another, and yield the status of each answer."""
        self._number += 1
        name, network = f"NODE{self._number}", f"N{self._number}"
        now = datetime.datetime.now(tz=datetime.UTC)
        with closing(open_store(self._roles.owner)) as store:
            store.registry.add_node(name, "operator@node.example")
            token = store.registry.add_token(name, now - DAY, now + DAY)[1]
            operators = store.registry.add_network_token(network, now - DAY, now + DAY)[1]
        client = create_app(Config(self._roles.service, metrics_token=METRICS_TOKEN)).test_client()
        sent = [wire(row(network=network, bytes=size), days_coverage=[f"2026-10-{size:02}"]) for size in (1, 2, 3)]
        first = self._ask(client, "POST", "submit", token, json=sent[0])
        yield first
        yield self._ask(client, "POST", "submit", token, json=sent[1])
        yield self._ask(client, "POST", "submit", token, json=sent[0])
        yield self._ask(client, "PUT", "submit", token, json={**sent[0], "stats": sent[2]["stats"]})
        listed = client.get(f"{PREFIX}/payloads", headers={"Authorization": f"Bearer {token}"})
        yield "GET payloads", listed.status_code
        for record in (listed.json or {}).get("payloads", [])[1:2]:
            yield self._ask(client, "DELETE", f"payloads/{record['payload']}", token)
        for request in (
            "",
            "&level=node",
            "&level=network&details=country",
            f"&network={network}",
            f"&node={name}",
        ):
            yield self._ask(client, "GET", f"dataselect/public?start=2026-10{request}")
        yield self._ask(
            client, "POST", f"dataselect/restricted?start=2026-10&network={network}&level=channel", operators
        )
        yield self._ask(client, "GET", "holdings/public?start=2026-10&level=network&streams=true")
        yield from self._count_connections(client, name, token)
        yield from self._use_archive(client)
        found = client.get(f"{AVAILABILITY}/query?net=*&nodata=404")
        yield "GET availability", 200 if found.status_code == 404 else found.status_code
        for path in ("nodes", "networks", f"node_restriction_policy?node={name}", "_health"):
            yield self._ask(client, "GET", path)
        yield self._ask(client, "GET", f"_isRestricted?node={name}&network={network}")
        metrics = client.get(f"{PREFIX}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        yield "GET metrics", metrics.status_code if "_database_up 1.0" in metrics.text else 503

    def _count_connections(self, client: FlaskClient, name: str, token: str) -> Iterator[tuple[str, int]]:
        """Send records of a ringserver and of a door, and reconcile them."""
        records = [
            close_after(0, 3600),
            connect(0, 1),
            connect(0, 2),
            snapshot(9, 1, 2),
            Command("one", "2" * 16, "HTTP"),
        ]
        headers = {"Authorization": f"Bearer {token}"}
        for some in (records, [step(0, sensor=name)]):
            sent = client.post(f"{PREFIX}/connections", data=encode_records(some), headers=headers)
            yield "POST connections", sent.status_code
        yield "GET count", client.get(f"{PREFIX}/count?space={name}").status_code
        with closing(open_store(self._roles.service)) as store:
            try:
                store.reconciliation.reconcile()
                yield "reconcile", 200
            except DatabaseForbidden as error:
                yield "reconcile", error.http_status

    def _use_archive(self, client: FlaskClient) -> Iterator[tuple[str, int]]:
        """Send a crawl of one archive, and look up its paths."""
        now = datetime.datetime.now(tz=datetime.UTC)
        with closing(open_store(self._roles.owner)) as store:
            if "archive" not in {shard.code for shard in store.shards.read_all()}:
                store.registry.add_node("ARCHIVE", "operator@node.example")
                store.shards.create("archive", "/archive", "ARCHIVE", open_paths=False)
            headers = {"Authorization": f"Bearer {store.registry.add_token('ARCHIVE', now - DAY, now + DAY)[1]}"}
        # Each is newer than the one before.
        crawl = make_crawl(root="/archive", started=f"{now - DAY:%Y-%m-%dT%H:%M:%S.%fZ}")
        sent = client.put(f"{PREFIX}/archive/archive/crawl", data=crawl, headers=headers)
        yield "PUT crawl", sent.status_code
        for query in ("list_sub_gpath", "timestamps", "extents", "intersects"):
            found = client.get(f"{PREFIX}/archive/archive?{query}", headers=headers)
            yield f"GET archive?{query}", found.status_code

    def _ask(
        self, client: FlaskClient, method: str, path: str, token: str | None = None, **body: Any
    ) -> tuple[str, int]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        response = client.open(f"{PREFIX}/{path}", method=method, headers=headers, **body)
        return f"{method} {path}", response.status_code


def test_granted_rights_suffice(granted_roles: Roles) -> None:
    answers = list(Tour(granted_roles).send_all())
    assert [request for request, status in answers if status not in (200, 201, 202, 409)] == []
    assert len(answers) == 29


def test_every_granted_right_is_needed(granted_roles: Roles) -> None:
    rights = read_rights(granted_roles)
    tour = Tour(granted_roles)
    needless = []
    for right in rights:
        execute(granted_roles.owner, f"REVOKE {right} FROM eida_service")
        if all(status != 503 for _, status in tour.send_all()):
            needless.append(right)
        execute(granted_roles.owner, f"GRANT {right} TO eida_service")
    assert needless == []
    assert read_rights(granted_roles) == rights
    assert len(rights) > 40


def test_other_statements_are_forbidden(granted_roles: Roles) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(InsufficientPrivilege):
            execute(granted_roles.service, statement)


def test_log_of_sensors_can_only_be_added_to(granted_roles: Roles) -> None:
    assert [right for right in read_rights(granted_roles) if "sensor_log" in right] == [
        "INSERT ON sensor_log",
        "SELECT ON sensor_log",
    ]
    with closing(open_store(granted_roles.owner)) as store:
        node, _ = make_node(store, "GFZ")
    # The timer may use this role, too.
    with closing(open_store(granted_roles.service)) as store:
        put(store, node, close_after(0, 3600), connect(0, 1, address="a" * 16), connect(5, 2))
        assert store.reconciliation.reconcile().hours > 0
        assert list(store.connection_verification.verify()) == []


def test_granting_again_restores_rights(granted_roles: Roles) -> None:
    rights = read_rights(granted_roles)
    grants.apply(granted_roles.owner, "eida_service")
    assert read_rights(granted_roles) == rights
    execute(granted_roles.owner, "REVOKE ALL ON nodes, payloads FROM eida_service")
    assert read_rights(granted_roles) != rights
    grants.apply(granted_roles.owner, "eida_service")
    assert read_rights(granted_roles) == rights


def test_unknown_role_is_named(granted_roles: Roles) -> None:
    with pytest.raises(UnknownRole, match=r'nobody"; DROP TABLE nodes; --(.|\n)*CREATE ROLE'):
        grants.apply(granted_roles.owner, 'nobody"; DROP TABLE nodes; --')
    rights = read_rights(granted_roles)
    # PostgreSQL takes "public" for everybody.
    for role in ("public", ""):
        with pytest.raises(UnknownRole):
            grants.apply(granted_roles.owner, role)
    assert read_rights(granted_roles) == rights


@pytest.mark.parametrize("is_incomplete", [False, True])
def test_only_the_owner_may_grant(granted_roles: Roles, *, is_incomplete: bool) -> None:
    rights = read_rights(granted_roles)
    if is_incomplete:
        execute(granted_roles.owner, "REVOKE ALL ON DATABASE eida_statistics FROM eida_service")
        execute(granted_roles.owner, "GRANT CONNECT, TEMPORARY ON DATABASE eida_statistics TO PUBLIC")
        rights = read_rights(granted_roles)
    with pytest.raises(DatabaseForbidden, match="owns"):
        grants.apply(granted_roles.service, "eida_owner")
    assert read_rights(granted_roles) == rights


def test_grant_needs_the_schema(roles: Roles) -> None:
    with pytest.raises(DatabaseNotReady, match="db migrate"):
        grants.apply(roles.owner, "eida_service")
    assert read_rights(roles) == []


def test_embedded_store_has_no_roles(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="embedded store"):
        grants.apply(f"sqlite:///{tmp_path / 'statistics.db'}", "eida_service")
