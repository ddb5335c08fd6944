"""A database of the service that was deployed before is taken over: numbers in are numbers out."""

import datetime
import os
import re
import subprocess
import sysconfig
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eida_statistics import hll
from eida_statistics.errors import (
    AmbiguousReplacement,
    NotTakenOver,
    NotUpstream,
    OverlappingPayload,
    StoreNotEmpty,
    StoreUnavailable,
)
from eida_stats_webservice.store import Store, open_store
from eida_stats_webservice.store.upstream import Upstream
from payloads import payload, row
from postgresql import Cluster
from tables import ROLL_UPS, grouped, select, sums

NOW = datetime.datetime.now(tz=datetime.UTC)
# Its tables, as far as they matter; names and types are facts of its public migrations.
TABLES = """
CREATE EXTENSION hll;
CREATE TABLE nodes (id serial PRIMARY KEY, name text, contact text, restriction_policy boolean,
    eas_group varchar(20), created_at timestamptz DEFAULT now());
CREATE TABLE tokens (id serial PRIMARY KEY, node_id integer, value varchar(32), valid_from timestamptz NOT NULL,
    valid_until timestamptz NOT NULL, create_at timestamptz DEFAULT now());
CREATE TABLE networks (node_id integer, name varchar(6), inverted_policy boolean, eas_group varchar(20),
    PRIMARY KEY (node_id, name));
CREATE TABLE payloads (id serial PRIMARY KEY, node_id integer, hash bigint UNIQUE, version text,
    generated_at timestamptz, created_at timestamptz DEFAULT now(), coverage date[]);
CREATE TABLE dataselect_stats (node_id integer, date date, network varchar(6), station varchar(5),
    location varchar(2), channel varchar(3), country varchar(2), bytes bigint, nb_reqs integer,
    nb_successful_reqs integer, nb_failed_reqs integer, clients hll, created_at timestamptz DEFAULT now(),
    updated_at timestamptz);
"""
CONTENTS = """
INSERT INTO nodes (name, contact, restriction_policy, eas_group) VALUES
    ('RESIF', 'operator@resif.example', false, 'resif'), ('GFZ', NULL, NULL, NULL), ('OLD', '', true, '');
UPDATE nodes SET id = id + 10;
INSERT INTO tokens (node_id, value, valid_from, valid_until) VALUES
    (11, 'token-of-resif', now() - interval '1 day', now() + interval '1 day'),
    (12, 'token-of-gfz', now() - interval '2 days', now() - interval '1 day'),
    (12, 'token-of-gfz', now() - interval '2 days', now() + interval '1 day');
INSERT INTO networks VALUES (11, 'FR', false, NULL), (11, 'Z32015', true, 'alparray'), (12, 'GE', NULL, NULL);
INSERT INTO payloads (node_id, hash, version, generated_at, coverage) VALUES
    (11, 1, '0.8.1', now(), '{2021-02-27,2021-02-28,2021-03-01}'), (11, 2, '0.8.1', now(), '{2021-02-28}'),
    (12, 3, NULL, NULL, '{2021-04-05}');
INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country, bytes, nb_reqs,
    nb_successful_reqs, nb_failed_reqs, clients)
SELECT 11 + n % 2, date '2021-02-01' + (n % 3 || ' months')::interval, (ARRAY['FR', 'GE', 'Z32015'])[1 + n % 3],
    'S' || n % 5, (ARRAY['', '00', '--', NULL])[1 + n % 4], (ARRAY['BHZ', 'HHZ'])[1 + n % 2],
    (ARRAY['FR', 'DE', NULL])[1 + n % 3], 1000000000000 + n, 10 + n, 9, 1 + n,
    (SELECT hll_add_agg(hll_hash_integer(k % 977), 11, 5) FROM generate_series(n, n + CASE WHEN n % 7 = 0 THEN 900
        WHEN n % 5 = 0 THEN 200 ELSE n % 4 END) k)
FROM generate_series(0, 119) n
WHERE n < 60 OR n % 4 <> 3;
"""


@pytest.fixture
def upstream_uri(postgresql: Cluster, postgresql_database: str) -> str:
    postgresql.psql(urlsplit(postgresql_database).path.removeprefix("/"), TABLES + CONTENTS)
    return postgresql_database


@pytest.fixture
def change(postgresql: Cluster, upstream_uri: str) -> Callable[[str], str]:
    """Run a script in it."""
    return lambda script: postgresql.psql(urlsplit(upstream_uri).path.removeprefix("/"), script)


def take_over(store: Store, uri: str) -> list[tuple[str, datetime.date, int]]:
    with closing(Upstream(uri)) as source:
        return list(store.take_over_upstream(source))


KEYS = ("network", "station", "location", "channel", "country")


def test_numbers_in_are_numbers_out(store: Store, upstream_uri: str, postgresql: Cluster) -> None:
    taken = take_over(store, upstream_uri)
    codes = ", ".join(f"coalesce({key}, '')" for key in KEYS)
    there = postgresql.psql(
        urlsplit(upstream_uri).path.removeprefix("/"),
        f"SELECT name, date, {codes}, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failed_reqs),"
        " ceil(#hll_union_agg(clients)) FROM dataselect_stats JOIN nodes ON nodes.id = node_id"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7",
    )
    here = {
        "|".join([*key, *map(str, numbers), str(hll.cardinality(clients))])
        for key, (*numbers, clients) in sums(store, "dataselect_stats", ("date", *KEYS)).items()
    }
    assert here == set(there.splitlines())
    assert sum(count for _, _, count in taken) == len(here) == 60
    for table, columns in ROLL_UPS.items():
        assert sums(store, table, columns) == grouped(store, columns)
    assert [found for _, _, differences in store.verify() for found in differences] == []


def test_nodes_networks_and_tokens_are_taken_over_and_tokens_not_in_clear(store: Store, upstream_uri: str) -> None:
    take_over(store, upstream_uri)
    assert [(node.name, node.contact, node.restriction_policy, node.eas_group) for node in store.list_nodes()] == [
        ("GFZ", "", False, None), ("OLD", "", True, None), ("RESIF", "operator@resif.example", False, "resif"),
    ]  # fmt: skip
    restricted = [(network.name, network.node, network.eas_group) for network in store.list_networks()
                  if network.restricted]  # fmt: skip
    assert restricted == [("Z32015", "RESIF", "alparray")]
    assert store.sender_of_token("token-of-resif", NOW).node.name == "RESIF"
    # The one of two that is still valid.
    assert store.sender_of_token("token-of-gfz", NOW).node.name == "GFZ"
    assert not [value for (value,) in select(store, "SELECT value FROM tokens") if "token" in value]
    store.add_node("NEW", "operator@new.example")
    assert store.add_token("NEW", NOW, NOW + datetime.timedelta(days=1))[0] == 3


def test_a_month_is_one_payload_of_the_days_that_were_received(store: Store, upstream_uri: str) -> None:
    take_over(store, upstream_uri)
    listed = store.list_payloads()
    assert {record.origin for record in listed} == {"import"}
    days = {(record.node, str(record.days[0])[:7]): record.days for record in listed}
    assert [str(day) for day in days["RESIF", "2021-02"]] == ["2021-02-27", "2021-02-28"]
    assert [str(day) for day in days["RESIF", "2021-03"]] == ["2021-03-01"]
    # Nothing is known of it but that it is of that month.
    assert len(days["GFZ", "2021-03"]) == 31
    assert [(record.node, record.rows) for record in listed if not record.rows] == []
    before = {table: sums(store, table, columns) for table, columns in ROLL_UPS.items()}
    for _ in store.replay():
        pass
    assert {table: sums(store, table, columns) for table, columns in ROLL_UPS.items()} == before


def test_what_was_taken_over_can_be_corrected(store: Store, upstream_uri: str) -> None:
    take_over(store, upstream_uri)
    node = store.sender_of_token("token-of-resif", NOW).node
    correction = payload(row(month="2021-02-01", bytes=7), days_coverage=["2021-02-27"])
    with pytest.raises(AmbiguousReplacement) as refusal:
        store.replace(node, correction)
    (number,) = (known.payload for known in refusal.value.payloads)
    assert store.replace(node, correction, [number])[0].supersedes == [number]
    assert [values[0] for key, values in sums(store, "dataselect_stats", ("date",)).items()
            if key == ("RESIF", "2021-02-01")] == [7]  # fmt: skip
    assert [found for _, _, differences in store.verify() for found in differences] == []


def test_imported_month_is_replaced_by_the_whole_month(store: Store, upstream_uri: str) -> None:
    take_over(store, upstream_uri)
    node = store.sender_of_token("token-of-resif", NOW).node
    (month,) = (one for one in store.list_payloads("RESIF") if one.days[0].month == 2)
    assert (month.source, month.period, month.content) == ("", None, month.hash)
    day, whole = (
        payload(
            row(month="2021-02-01", bytes=7),
            days_coverage=["2021-02-27"],
            period={"start": start, "end": "2021-02-28"},
        )
        for start in ("2021-02-28", "2021-02-01")
    )
    with pytest.raises(OverlappingPayload):
        store.ingest(node, day)
    with pytest.raises(AmbiguousReplacement):
        store.replace(node, day)
    assert store.replace(node, whole)[0].supersedes == [month.payload]


@pytest.mark.parametrize(
    ("script", "named"),
    [
        (
            "UPDATE dataselect_stats SET station = 'a b' WHERE station = 'S1'",
            r"(GFZ|RESIF) 2021-0\d: (FR|GE|Z32015)\.a b\.\S*\.(BHZ|HHZ) of country \S+, station",
        ),
        (
            "UPDATE dataselect_stats SET bytes = -1 WHERE bytes = 1000000000000",
            r"RESIF 2021-02: FR\.S0\.\.BHZ of country FR, bytes",
        ),
        ("UPDATE dataselect_stats SET clients = hll_empty(12, 5)", "clients"),
        (
            "UPDATE dataselect_stats SET node_id = NULL WHERE network = 'GE';"
            " INSERT INTO dataselect_stats (node_id, bytes) VALUES (99, 1), (NULL, 2)",
            r"^[^\n]*: \d\d rows of dataselect_stats, with [\d,]+ bytes, have no node or no date",
        ),
        ("UPDATE dataselect_stats SET date = NULL WHERE bytes = 1000000000000", "1 rows .* no node or no date"),
        ("UPDATE dataselect_stats SET date = '2031-01-01' WHERE bytes = 1000000000000", "RESIF 2031-01: "),
        ("UPDATE nodes SET name = 'GFZ'", "nodes, id 12: there is another one called GFZ"),
        ("UPDATE nodes SET name = NULL WHERE id = 12", "nodes, id 12: it has no name"),
    ],
)
def test_what_cannot_be_taken_over_is_named_and_nothing_is(
    store: Store, upstream_uri: str, change: Callable[[str], str], script: str, named: str
) -> None:
    change(script)
    with pytest.raises(NotTakenOver, match=named):
        take_over(store, upstream_uri)
    assert store.list_nodes() == []


def test_what_is_not_known_counts_nothing(store: Store, upstream_uri: str, change: Callable[[str], str]) -> None:
    change(
        """
        UPDATE dataselect_stats SET clients = NULL, bytes = NULL, nb_failed_reqs = NULL;
        INSERT INTO tokens (node_id, value, valid_from, valid_until) VALUES
            (NULL, 'of-nobody', now(), now() + interval '1 day'),
            (99, 'of-another', now(), now() + interval '1 day'),
            (11, NULL, now(), now() + interval '1 day');
        INSERT INTO networks VALUES (99, 'XX', false, NULL);
        INSERT INTO payloads (node_id, hash, coverage) VALUES
            (11, 10, ARRAY['2021-02-05', NULL]::date[]), (11, 11, NULL), (99, 12, '{2021-02-06}'),
            (NULL, 13, '{2021-02-07}'), (12, 14, '{2031-01-01}');
        """
    )
    take_over(store, upstream_uri)
    found = sums(store, "dataselect_stats", ("network",))
    assert {(values[0], values[3], hll.cardinality(values[4])) for values in found.values()} == {(0, 0, 0)}
    assert sum(values[1] for values in found.values()) > 800
    assert len(store.list_tokens()) == 2
    days = {day for record in store.list_payloads("RESIF") for day in record.days}
    assert {datetime.date(2021, 2, day) for day in (5, 27, 28)} <= days
    assert not days & {datetime.date(2021, 2, 6), datetime.date(2021, 2, 7)}
    assert max(record.days[-1] for record in store.list_payloads()).year == 2021
    assert [found for _, _, differences in store.verify() for found in differences] == []


def test_the_database_waits_for_as_long_as_the_other_one_takes(database_uri: str, upstream_uri: str) -> None:
    with closing(open_store(database_uri)) as store, closing(Upstream(upstream_uri)) as source:
        taking = store.take_over_upstream(source)
        next(taking)
        # It is within its transaction now; nobody else has its connection.
        cursor = taking.gi_frame.f_locals["connection"].cursor()
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("0",)
        assert list(taking)
        assert select(store, "SHOW idle_in_transaction_session_timeout") == [("1min",)]


def test_it_takes_an_empty_database_and_one_to_take_over(
    store: Store, upstream_uri: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    take_over(store, upstream_uri)
    with pytest.raises(StoreNotEmpty):
        take_over(store, upstream_uri)
    with pytest.raises(StoreUnavailable):
        Upstream(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(NotUpstream, match="SQLite"):
        Upstream(f"sqlite:///{tmp_path}/statistics.db")
    change("ALTER TABLE payloads DROP COLUMN coverage")
    with pytest.raises(NotUpstream, match=r"payloads\.coverage"):
        Upstream(upstream_uri)


@pytest.mark.parametrize("column", ["nb_unsuccessful_reqs", "nb_failedrequests", None])
def test_columns_may_have_other_names(
    store: Store, upstream_uri: str, change: Callable[[str], str], column: str | None
) -> None:
    change(
        "DROP TABLE networks; ALTER TABLE dataselect_stats "
        + (f"RENAME COLUMN nb_failed_reqs TO {column}" if column else "DROP COLUMN nb_failed_reqs")
    )
    take_over(store, upstream_uri)
    # Each row has one more than its successful requests, and so many failed ones.
    assert all(
        requests == successful + failed
        for _, requests, successful, failed, _ in sums(store, "dataselect_stats", ("date",)).values()
    )


def test_the_command_tells_what_it_takes_over(store_uri: str, upstream_uri: str) -> None:
    def statsman(*words: str) -> subprocess.CompletedProcess[str]:
        command = Path(sysconfig.get_path("scripts")) / "eida_statsman"
        environment = os.environ | {"DATABASE_URI": store_uri}
        return subprocess.run([command, *words], env=environment, capture_output=True, text=True, check=False)

    done = statsman("db", "import-upstream", upstream_uri)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^GFZ 2021-03: \d+ rows$", done.stdout, re.MULTILINE)
    assert "60 rows" in done.stdout
    assert "differences: none" in statsman("db", "verify").stdout
    again = statsman("db", "import-upstream", upstream_uri)
    assert (again.returncode, again.stdout) == (1, "")
    assert "empty database" in again.stderr
    assert statsman("db", "import-upstream", store_uri).returncode == 1
