"""Importing a database of the service that was deployed before keeps all numbers."""

import csv
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
from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dataselect.legacy_import import LegacyDatabase
from eida_stats_webservice.errors import (
    AmbiguousReplacement,
    BadRows,
    DatabaseNotEmpty,
    DatabaseUnavailable,
    NotTakenOver,
    NotUpstream,
    OverlappingPayload,
    RefusedToken,
)
from support.dates import NOW
from support.deployed_service import CONTENTS, TABLES
from support.payloads import payload, row
from support.postgresql import Cluster
from support.signer import Signer
from support.stores import ON_ONE_STORE, Store, open_store
from support.tables import ROLL_UPS, compute_roll_up, read_sums, select


@pytest.fixture
def upstream_uri(postgresql: Cluster, postgresql_database: str) -> str:
    postgresql.psql(urlsplit(postgresql_database).path.removeprefix("/"), TABLES + CONTENTS)
    return postgresql_database


@pytest.fixture
def change(postgresql: Cluster, upstream_uri: str) -> Callable[[str], str]:
    """Return a function that runs a script in the old database."""
    return lambda script: postgresql.psql(urlsplit(upstream_uri).path.removeprefix("/"), script)


def import_legacy(store: Store, uri: str) -> list[tuple[str, datetime.date, int, int]]:
    with closing(LegacyDatabase(uri)) as source:
        return list(store.transfer.import_legacy(source))


def import_bad_rows(store: Store, uri: str) -> list[str]:
    """Return the rows that cannot be imported, and check that nothing was."""
    with closing(LegacyDatabase(uri)) as source:
        with pytest.raises(BadRows, match="--skip-bad"):
            list(store.transfer.import_legacy(source))
        assert store.registry.list_nodes() == []
        return list(map(str, source.bad_rows))


KEYS = ("network", "station", "location", "channel", "country")


def test_import_keeps_all_numbers(store: Store, upstream_uri: str, postgresql: Cluster) -> None:
    taken = import_legacy(store, upstream_uri)
    # The import corrects blanks around names, days within a month, unknown locations, and countries.
    right = {
        "name": "trim(name)",
        "date": "date_trunc('month', date)::date",
        **{code: f"coalesce({code}, '')" for code in ("network", "station", "channel")},
        "location": "translate(coalesce(location, ''), '*', '')",
        "country": "CASE WHEN country ~ '^[A-Za-z0-9]{2}$' THEN upper(country COLLATE \"C\") ELSE '' END",
    }
    keys = ", ".join(right[key] for key in ("name", "date", *KEYS))
    there = postgresql.psql(
        urlsplit(upstream_uri).path.removeprefix("/"),
        f"SELECT {keys}, sum(bytes), sum(nb_reqs), sum(nb_successful_reqs), sum(nb_failed_reqs),"
        " ceil(#hll_union_agg(clients)) FROM dataselect_stats JOIN nodes ON nodes.id = node_id"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7",
    )
    here = {
        "|".join([*key, *map(str, numbers), str(hll.cardinality(clients))])
        for key, (*numbers, clients) in read_sums(store, "dataselect_stats", ("date", *KEYS)).items()
    }
    assert here == set(there.splitlines())
    assert sum(count for _, _, count, _ in taken) == len(here)
    assert sum(changed for *_, changed in taken) > 10
    assert sum(key.split("|")[6] == "FR" for key in here) > 5
    for table, columns in ROLL_UPS.items():
        assert read_sums(store, table, columns) == compute_roll_up(store, columns)
    assert [found for _, _, differences in store.verification.verify() for found in differences] == []


def test_nodes_networks_and_tokens_are_imported(store: Store, upstream_uri: str) -> None:
    import_legacy(store, upstream_uri)
    nodes = store.registry.list_nodes()
    assert [(node.name, node.contact, node.restriction_policy, node.eas_group) for node in nodes] == [
        ("GFZ", "", False, None), ("OLD", "", True, None), ("RESIF", "operator@resif.example", False, "resif"),
    ]  # fmt: skip
    restricted = [(network.name, network.node, network.eas_group) for network in store.registry.list_networks()
                  if network.restricted]  # fmt: skip
    assert restricted == [("Z32015", "RESIF", "alparray")]
    assert store.registry.find_sender_of_token("token-of-resif", NOW).node.name == "RESIF"
    # Of two tokens, the one that is still valid.
    assert store.registry.find_sender_of_token("token-of-gfz", NOW).node.name == "GFZ"
    assert not [value for (value,) in select(store, "SELECT value FROM tokens") if "token" in value]
    store.registry.add_node("NEW", "operator@new.example")
    assert store.registry.find_sender_of_token("for-ever", NOW).node.name == "RESIF"
    assert store.registry.find_sender_of_token("for-long", NOW).node.name == "RESIF"
    assert store.registry.add_token("NEW", NOW, NOW + datetime.timedelta(days=1))[0] == 5


@ON_ONE_STORE
def test_skipped_tokens_are_named_without_values(store: Store, upstream_uri: str) -> None:
    with closing(LegacyDatabase(upstream_uri)) as source:
        list(store.transfer.import_legacy(source))
        found = {(token.number, token.node): token.reason for token in source.bad_tokens}
    assert found == {
        (2, "GFZ"): "it has the value of token 3, which is valid longer",
        (4, "RESIF"): "2 nodes share its value",
        (5, "GFZ"): "2 nodes share its value",
        (6, "RESIF"): "it has no value",
        (7, "GFZ"): "it has no value",
        (8, ""): "it has no node",
        (9, ""): "it has no node",
        (10, "RESIF"): "it ended before it began",
    }
    with pytest.raises(RefusedToken):
        store.registry.find_sender_of_token("shared", NOW)


@ON_ONE_STORE
def test_group_members_keep_their_access(store: Store, service_uri: str, upstream_uri: str) -> None:
    """The old database stores groups with /epos/ and compares them with tokens as a whole."""
    import_legacy(store, upstream_uri)
    with Signer() as signer:
        config = Config(service_uri, eas_keyring=str(signer.keyring), eas_fingerprints=signer.fingerprint)
        client = create_app(config).test_client()
        path = "/eidaws/statistics/1/dataselect/restricted?start=2021-01&node=RESIF&network=Z32015&level=station"
        for groups, status in (
            ("/epos;/epos/alparray", 200),
            ("/epos/;/epos/resif;/epos/other", 200),
            ("/epos;/epos/other", 403),
            ("alparray", 403),
        ):
            assert client.post(path, data=signer.token(groups)).status_code == status, groups


def test_month_is_imported_as_one_payload(store: Store, upstream_uri: str) -> None:
    import_legacy(store, upstream_uri)
    listed = store.payloads.list_payloads()
    assert {record.origin for record in listed} == {"import"}
    days = {(record.node, str(record.days[0])[:7]): record.days for record in listed}
    assert [str(day) for day in days["RESIF", "2021-02"]] == ["2021-02-27", "2021-02-28"]
    assert [str(day) for day in days["RESIF", "2021-03"]] == ["2021-03-01"]
    # Only the month is known.
    assert len(days["GFZ", "2021-03"]) == 31
    assert [(record.node, record.rows) for record in listed if not record.rows] == []
    before = {table: read_sums(store, table, columns) for table, columns in ROLL_UPS.items()}
    for _ in store.verification.replay():
        pass
    assert {table: read_sums(store, table, columns) for table, columns in ROLL_UPS.items()} == before


def test_imported_payload_can_be_corrected(store: Store, upstream_uri: str) -> None:
    import_legacy(store, upstream_uri)
    node = store.registry.find_sender_of_token("token-of-resif", NOW).node
    correction = payload(row(month="2021-02-01", bytes=7), days_coverage=["2021-02-27"])
    with pytest.raises(AmbiguousReplacement) as refusal:
        store.dataselect.replace(node, correction)
    (number,) = (known.payload for known in refusal.value.payloads)
    assert store.dataselect.replace(node, correction, [number])[0].supersedes == [number]
    assert [values[0] for key, values in read_sums(store, "dataselect_stats", ("date",)).items()
            if key == ("RESIF", "2021-02-01")] == [7]  # fmt: skip
    assert [found for _, _, differences in store.verification.verify() for found in differences] == []


def test_imported_month_is_replaced_by_the_whole_month(store: Store, upstream_uri: str) -> None:
    import_legacy(store, upstream_uri)
    node = store.registry.find_sender_of_token("token-of-resif", NOW).node
    (month,) = (one for one in store.payloads.list_payloads("RESIF") if one.days[0].month == 2)
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
        store.dataselect.ingest(node, day)
    with pytest.raises(AmbiguousReplacement):
        store.dataselect.replace(node, day)
    assert store.dataselect.replace(node, whole)[0].supersedes == [month.payload]


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "UPDATE dataselect_stats SET station = 'a b' WHERE station = 'S1'",
            r"(GFZ|RESIF) 2021-0\d: (FR|GE|Z32015)\.a b\.\S*\.(BHZ|HHZ) of country \S+: station: not a code .*",
        ),
        (
            "UPDATE dataselect_stats SET bytes = -1 WHERE bytes = 1000000000000",
            r"RESIF 2021-02: FR\.S0\.\.BHZ of country FR: bytes: not an integer .*",
        ),
        ("UPDATE dataselect_stats SET clients = hll_empty(12, 5)", ".* clients: not a HyperLogLog sketch .*"),
        (
            "UPDATE dataselect_stats SET bytes = 9007199254740991 WHERE upper(country) = 'FR' AND station = 'S1'",
            r".* of country (FR|fr): more than 2\^53-1 of something.*",
        ),
        (
            "UPDATE dataselect_stats SET network = E'A\\x1b' WHERE station = 'S1'",
            ".*: A\N{REPLACEMENT CHARACTER}\\.S1.*",
        ),
        ("UPDATE dataselect_stats SET node_id = NULL WHERE network = 'GE'", r"\(no node\) 2021-.*: it has no node"),
        ("INSERT INTO dataselect_stats (node_id, bytes) VALUES (99, 1)", r"\(no node\) \(no date\): .* no node"),
        ("UPDATE dataselect_stats SET date = NULL WHERE bytes % 7 = 1", r".* \(no date\): .*: it has no date"),
        *(
            (f"UPDATE dataselect_stats SET date = '{date}' WHERE bytes % 7 = 1", f".* {month}: .*: no month .*")
            for date, month in (
                ("2091-01-01", "2091-01"), ("1970-01-01", "1970-01"),
                ("infinity", "9999-12"), ("-infinity", "0001-01"),
                ("20210-02-01", "9999-12"), ("0044-03-15 BC", "0001-01"),
            )
        ),
    ],
)  # fmt: skip
def test_bad_rows_are_named(
    store: Store, upstream_uri: str, change: Callable[[str], str], script: str, message: str
) -> None:
    change(script)
    rows = import_bad_rows(store, upstream_uri)
    assert rows
    assert all(re.fullmatch(message, row) for row in rows), rows


@ON_ONE_STORE
def test_all_bad_rows_are_named_together(store: Store, upstream_uri: str, change: Callable[[str], str]) -> None:
    """The decoder names a hundred for each payload, and some only after others are gone."""
    change(
        """
        INSERT INTO dataselect_stats (node_id, date, network, station, location, channel, country, bytes, nb_reqs,
            nb_successful_reqs, nb_failed_reqs, clients)
        SELECT node, date '2021-02-01', network, n, '', 'BHZ', 'DE', bytes, 1, 1, 0, clients
        FROM (VALUES (11, 'B', -1, hll_empty(11, 5), 250), (12, 'B A', 1, hll_empty(11, 5), 150),
            (12, 'C', 1, hll_empty(12, 5), 50), (NULL, 'D', 1, hll_empty(11, 5), 50)
        ) AS bad (node, network, bytes, clients, rows), generate_series(1, rows) n;
        """
    )
    rows = import_bad_rows(store, upstream_uri)
    assert len(rows) == len(set(rows)) == 500


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("UPDATE nodes SET name = 'GFZ'", "nodes, id 12: there is another one called GFZ"),
        ("UPDATE nodes SET name = NULL WHERE id = 12", "nodes, id 12: it has no name"),
        ("UPDATE nodes SET name = '  ' WHERE id = 12", "nodes, id 12: it has no name"),
        ("UPDATE nodes SET name = 'Other' WHERE id = 12", "nodes, id 12: it has a name that no node can have"),
    ],
)
def test_other_faults_stop_the_import(
    store: Store, upstream_uri: str, change: Callable[[str], str], script: str, message: str
) -> None:
    change(script)
    with (
        closing(LegacyDatabase(upstream_uri)) as source,
        pytest.raises(NotTakenOver, match=message),
    ):
        list(store.transfer.import_legacy(source, skip_bad=True))
    assert store.registry.list_nodes() == []


def test_unknown_values_count_as_zero(store: Store, upstream_uri: str, change: Callable[[str], str]) -> None:
    change(
        """
        UPDATE dataselect_stats SET clients = NULL, bytes = NULL, nb_failed_reqs = NULL;
        INSERT INTO networks VALUES (99, 'XX', false, NULL);
        INSERT INTO payloads (node_id, hash, coverage) VALUES
            (11, 10, ARRAY['2021-02-05', NULL]::date[]), (11, 11, NULL), (99, 12, '{2021-02-06}'),
            (NULL, 13, '{2021-02-07}'), (12, 14, '{2091-01-01}');
        """
    )
    import_legacy(store, upstream_uri)
    found = read_sums(store, "dataselect_stats", ("network",))
    assert {(values[0], values[3], hll.cardinality(values[4])) for values in found.values()} == {(0, 0, 0)}
    assert sum(values[1] for values in found.values()) > 800
    assert len(store.registry.list_tokens()) == 4
    days = {day for record in store.payloads.list_payloads("RESIF") for day in record.days}
    assert {datetime.date(2021, 2, day) for day in (5, 27, 28)} <= days
    assert not days & {datetime.date(2021, 2, 6), datetime.date(2021, 2, 7)}
    assert max(record.days[-1] for record in store.payloads.list_payloads()).year == 2021
    assert [found for _, _, differences in store.verification.verify() for found in differences] == []


def test_import_has_no_idle_timeout(database_uri: str, upstream_uri: str) -> None:
    with closing(open_store(database_uri)) as store, closing(LegacyDatabase(upstream_uri)) as source:
        taking = store.transfer.import_legacy(source)
        next(taking)
        # It is within its transaction now, whose connection nobody else has.
        cursor = taking.gi_frame.f_locals["connection"].cursor()
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("0",)
        assert list(taking)
        assert select(store, "SHOW idle_in_transaction_session_timeout") == [("1min",)]


def test_import_needs_empty_target_and_legacy_source(
    store: Store, upstream_uri: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    import_legacy(store, upstream_uri)
    with pytest.raises(DatabaseNotEmpty):
        import_legacy(store, upstream_uri)
    with pytest.raises(DatabaseUnavailable):
        LegacyDatabase(f"postgresql://nobody@/nothing?host={tmp_path}")
    with pytest.raises(NotUpstream, match="SQLite"):
        LegacyDatabase(f"sqlite:///{tmp_path}/statistics.db")
    change("ALTER TABLE payloads DROP COLUMN coverage")
    with pytest.raises(NotUpstream, match=r"payloads\.coverage"):
        LegacyDatabase(upstream_uri)


@ON_ONE_STORE
@pytest.mark.parametrize("path", ["nowhere", "''"])
def test_search_path_of_the_source_does_not_matter(
    store: Store, upstream_uri: str, change: Callable[[str], str], path: str
) -> None:
    change(f"ALTER DATABASE {urlsplit(upstream_uri).path.removeprefix('/')} SET search_path = {path}")
    assert import_legacy(store, upstream_uri)


@ON_ONE_STORE
@pytest.mark.parametrize("column", ["nb_unsuccessful_reqs", "nb_failedrequests", None])
def test_columns_may_have_other_names(
    store: Store, upstream_uri: str, change: Callable[[str], str], column: str | None
) -> None:
    change(
        "DROP TABLE networks; ALTER TABLE dataselect_stats "
        + (f"RENAME COLUMN nb_failed_reqs TO {column}" if column else "DROP COLUMN nb_failed_reqs")
    )
    import_legacy(store, upstream_uri)
    # Each row has one more request than successful ones, and as many failed ones.
    assert all(
        requests == successful + failed
        for _, requests, successful, failed, _ in read_sums(store, "dataselect_stats", ("date",)).values()
    )


class Statsman:
    """The administrator's command for one database."""

    def __init__(self, uri: str) -> None:
        self._environment = os.environ | {"DATABASE_URI": uri}

    def __call__(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = Path(sysconfig.get_path("scripts")) / "eida_statsman"
        return subprocess.run([command, *words], env=self._environment, capture_output=True, text=True, check=False)


@ON_ONE_STORE
def test_command_reports_the_import(store_uri: str, upstream_uri: str) -> None:
    statsman = Statsman(store_uri)
    ran = statsman("db", "import-upstream", upstream_uri)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^GFZ 2021-03: \d+ rows$", ran.stdout, re.MULTILINE)
    assert re.search(r"^rows whose country was not two capitals or digits: \d+$", ran.stdout, re.MULTILINE)
    assert "token 4 of RESIF is left out: 2 nodes share its value\n" in ran.stderr
    assert "shared\n" not in ran.stderr
    assert "differences: none" in statsman("db", "verify").stdout
    again = statsman("db", "import-upstream", upstream_uri)
    assert (again.returncode, again.stdout) == (1, "")
    assert "The database is not empty" in again.stderr
    assert statsman("db", "import-upstream", store_uri).returncode == 1


@ON_ONE_STORE
def test_skip_bad_reports_and_skips_rows(
    store_uri: str, upstream_uri: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    change(
        """
        INSERT INTO dataselect_stats (node_id, date, network, bytes, nb_reqs, nb_successful_reqs, nb_failed_reqs)
        SELECT 11, '2021-02-01', 'bad, ' || n % 10, 10, 2, 2, 0 FROM generate_series(1, 1200) n
        """
    )
    statsman, report = Statsman(store_uri), tmp_path / "bad.csv"
    refused = statsman("db", "import-upstream", upstream_uri, "--report", report)
    assert refused.returncode == 1
    assert refused.stderr.count("bad row: RESIF 2021-02: bad, ") == 1000
    assert f"bad row: … and 200 more; all are in {report}" in refused.stderr
    assert "1,200 of them" in refused.stderr
    rows = list(csv.DictReader(report.read_text().splitlines()))
    assert len(rows) == 1200
    assert rows[0]["reason"] == "network: not a code of up to 8 letters, digits, - or _"
    assert statsman("nodes", "list", "--json").stdout.strip() == "[]"
    for wrong, reason in ((report, "exists"), (tmp_path / "no" / "bad.csv", "No such file or directory")):
        stopped = statsman("db", "import-upstream", upstream_uri, "--skip-bad", "--report", wrong)
        assert (stopped.returncode, reason in stopped.stderr) == (2, True)
    assert len(report.read_text().splitlines()) == 1201
    ran = statsman("db", "import-upstream", upstream_uri, "--skip-bad")
    assert ran.returncode == 0, ran.stderr
    assert "left out: 1,200 rows, 12,000 bytes, 2,400 requests\n" in ran.stdout
    assert "differences: none" in statsman("db", "verify").stdout
