"""The administrator's command."""

import datetime
import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.dates import DAY, NOW
from support.kinds import make_quiet_day
from support.node_client import make_node
from support.payloads import payload, row
from support.roles import SERVICE, grant_service
from support.statsman import Statsman
from support.stores import ON_ONE_STORE, Store


@pytest.fixture
def statsman(store_uri: str) -> Statsman:
    return Statsman(store_uri)


@pytest.mark.parametrize(
    ("word", "missing"), [("nodes", "aiosql"), ("db", "yoyo"), ("--help", "psycopg2"), ("serve", "gunicorn")]
)
def test_missing_packages_are_named(word: str, missing: str, tmp_path: Path) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; from eida_statsman import main; main()"
    refused = subprocess.run(
        [sys.executable, "-c", script, word],
        env=os.environ | {"TMPDIR": str(tmp_path), "DATABASE_URI": "sqlite:///:memory:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (refused.returncode, refused.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert refused.stderr == (
        f"eida_statsman needs {missing}, which is not installed."
        " In a checkout of the project, run: pip install '.[webservice]'\n"
    )


def test_new_database_is_migrated_once(tmp_path: Path) -> None:
    statsman = Statsman(f"sqlite:///{tmp_path / 'statistics.db'}")
    assert {migration["applied"] for migration in json.loads(statsman.run("db", "status", "--json"))} == {False}
    assert "0001_initial-schema" in statsman.run("db", "migrate")
    assert "up to date" in statsman.run("db", "migrate")
    assert {migration["applied"] for migration in json.loads(statsman.run("db", "status", "--json"))} == {True}
    assert "statistics.db" in statsman.run("db", "status")


def test_missing_schema_names_the_remedy(tmp_path: Path) -> None:
    refused = Statsman(f"sqlite:///{tmp_path / 'statistics.db'}")("nodes", "list")
    assert refused.returncode == 1
    assert "eida_statsman db migrate" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_grant_gives_the_service_its_rights(database_uri: str) -> None:
    service_uri = grant_service(database_uri)
    statsman = Statsman(database_uri)
    assert statsman.run("db", "grant", SERVICE) == f"granted the rights of the service to {SERVICE}\n"
    unknown = statsman("db", "grant", "nobody")
    assert unknown.returncode == 1
    assert "The database has no such role: nobody" in unknown.stderr
    for refused in (Statsman(service_uri)("db", "grant", SERVICE), Statsman(service_uri)("nodes", "list")):
        assert refused.returncode == 1
        assert "use the role that owns" in refused.stderr.lower()
        assert "Traceback" not in refused.stderr


def test_database_password_is_not_printed(tmp_path: Path) -> None:
    refused = Statsman(f"postgresql://user:hidden-word@/db?host={tmp_path}")("db", "status")
    assert refused.returncode == 1
    assert "hidden-word" not in refused.stdout + refused.stderr


def test_unreadable_uri_is_not_quoted() -> None:
    refused = Statsman("postgresql://user:hidden-word@host:abc/x")("db", "status")
    assert refused.returncode == 2
    assert "DATABASE_URI cannot be parsed" in refused.stderr
    assert not {"hidden-word", "abc", "Traceback"} & set(re.split(r"[^\w-]", refused.stdout + refused.stderr))


def test_lock_of_killed_migration_is_reported(tmp_path: Path) -> None:
    statsman = Statsman(f"sqlite:///{tmp_path / 'statistics.db'}")
    statsman.run("db", "migrate")
    with closing(sqlite3.connect(tmp_path / "statistics.db")) as connection, connection:
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, '2026-11-22', 1)")
    refused = statsman("db", "migrate")
    assert refused.returncode == 1
    assert "yoyo break-lock --database" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_nodes_can_be_managed(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    statsman.run("nodes", "add", "BGR", "--contact", "operator@bgr.example")
    listed = json.loads(statsman.run("nodes", "list", "--json"))
    assert [(node["name"], node["contact"], node["payloads"]) for node in listed] == [
        ("BGR", "operator@bgr.example", 0),
        ("GFZ", "operator@gfz.example", 0),
    ]
    assert "operator@gfz.example" in statsman.run("nodes", "list")
    statsman.run("nodes", "update", "GFZ", "--name", "GEOFON", "--contact", "new@gfz.example")
    assert "GEOFON" in statsman.run("nodes", "list")
    statsman.run("nodes", "remove", "GEOFON", typed="GEOFON\n")
    assert [node["name"] for node in json.loads(statsman.run("nodes", "list", "--json"))] == ["BGR"]


@ON_ONE_STORE
def test_table_rows_are_one_line(statsman: Statsman) -> None:
    contact = "operator-of-the-statistics@data-centre.example"
    for name in ("GFZ", "KOERI x"):
        added = statsman.run("nodes", "add", name, "--contact", contact)
    assert added.endswith("next: eida_statsman tokens add 'KOERI x'\n")
    lines = statsman.run("nodes", "list").splitlines()
    assert len(lines) == 3
    assert lines == [line.rstrip() for line in lines]
    assert "NEWEST DAY" in lines[0]
    # As on a terminal, without its colours.
    statsman.set(FORCE_COLOR="1", NO_COLOR="1", COLUMNS="80")
    narrow = statsman("nodes", "list")
    assert [contact in line for line in narrow.stdout.splitlines()] == [False, True, True]
    assert "SINCE" not in narrow.stdout
    assert narrow.stderr == "(not shown: SINCE, PAYLOADS, LAST, GROUP; see --json)\n"
    statsman.run("nodes", "update", "GFZ", "--contact", "a" * 90 + "@data-centre.example")
    wide = statsman("nodes", "list")
    assert all(heading in wide.stdout for heading in ("PAYLOADS", "LAST", "GROUP", "SINCE"))
    assert wide.stderr == "(not shown: CONTACT; see --json)\n"


@ON_ONE_STORE
def test_node_name_with_outer_blanks_is_refused(statsman: Statsman) -> None:
    refused = statsman("nodes", "add", "GFZ ", "--contact", "operator@gfz.example")
    assert (refused.returncode, "blanks at its ends" in refused.stderr) == (2, True)


@ON_ONE_STORE
def test_newest_day_of_a_node_is_listed(statsman: Statsman, store: Store) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    node = store.registry.find_sender_of_token(store.registry.add_token("GFZ", NOW - DAY, NOW + DAY)[1], NOW).node
    store.dataselect.ingest(node, payload(row(), days_coverage=["2026-10-14"]))
    (listed,) = json.loads(statsman.run("nodes", "list", "--json"))
    assert (listed["newest_day"], listed["newest_streaming_day"]) == ("2026-10-14", None)
    store.ringserver.ingest(node, make_quiet_day(datetime.date(2026, 10, 16)))
    (listed,) = json.loads(statsman.run("nodes", "list", "--json"))
    assert (listed["newest_day"], listed["newest_streaming_day"]) == ("2026-10-14", "2026-10-16")


@ON_ONE_STORE
def test_single_restricted_network_is_a_warning(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    alone = statsman("networks", "set-policy", "GFZ", "XX", "inverted", "--new")
    assert "warning: XX is the only restricted network" in alone.stderr
    assert statsman("networks", "set-policy", "GFZ", "YY", "inverted", "--new").stderr == ""
    assert "warning: YY is the only" in statsman("networks", "set-policy", "GFZ", "XX", "default").stderr
    assert "warning: XX is the only" in statsman("nodes", "set-policy", "GFZ", "restricted").stderr


@ON_ONE_STORE
def test_group_may_have_its_prefix(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    statsman.run("nodes", "set-group", "GFZ", "/epos/geofon")
    (listed,) = json.loads(statsman.run("nodes", "list", "--json"))
    assert listed["eas_group"] == "geofon"


@ON_ONE_STORE
def test_removing_a_node_needs_confirmation(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    for words, typed in ((("nodes", "remove", "GFZ"), "BGR\n"), (("nodes", "remove", "GFZ", "--confirm", "B"), "")):
        refused = statsman(*words, typed=typed)
        assert refused.returncode == 2
        assert "nothing was removed" in refused.stderr
    assert statsman("nodes", "remove", "GFZ", typed="").returncode == 1
    assert len(json.loads(statsman.run("nodes", "list", "--json"))) == 1
    statsman.run("nodes", "remove", "GFZ", "--confirm", "GFZ")


@ON_ONE_STORE
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nodes", "add", "GFZ"), 2, "--contact"),
        (("nodes", "add", " ", "--contact", "x"), 2, "printable"),
        (("nodes", "add", "A,B", "--contact", "x"), 2, "commas"),
        (("nodes", "add", "GFZ", "--contact", ""), 2, "not blank"),
        (("nodes", "remove", "\udcff", "--confirm", "\udcff"), 2, "printable"),
        (("tokens", "add", "\udcff"), 2, "printable"),
        (("tokens", "add", "GFZ", "--valid-from", "9999-12-30"), 2, "--valid-until"),
        (("tokens", "revoke", "99999999999999999999"), 1, "no such token"),
        (("nodes", "update", "GFZ", "--contact", " "), 2, "not blank"),
        (("nodes", "update", "GFZ"), 2, "--name or --contact"),
        (("nodes", "update", "nobody", "--contact", "x"), 1, "nobody"),
        (("nodes", "remove", "nobody", "--confirm", "nobody"), 1, "nobody"),
        (("tokens", "add", "nobody"), 1, "nobody"),
        (("tokens", "revoke", "99"), 1, "99"),
        (("tokens", "add", "GFZ", "--valid-from", "2027-01-02", "--valid-until", "2027-01-01"), 2, "before"),
        (("tokens", "add", "GFZ", "--valid-until", "soon"), 2, "soon"),
    ],
)
def test_mistakes_are_explained(statsman: Statsman, words: tuple[str, ...], code: int, message: str) -> None:
    refused = statsman(*words)
    assert refused.returncode == code, refused.stderr
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@ON_ONE_STORE
def test_token_is_printed_only_once(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    token = statsman.run("tokens", "add", "GFZ").strip()
    assert len(token) == 43
    made = json.loads(
        statsman.run("tokens", "add", "GFZ", "--valid-from", "2027-01-01", "--valid-until", "2028-01-01", "--json")
    )
    listed = statsman.run("tokens", "list", "--json")
    assert token not in listed
    assert made["token"] not in listed
    assert [(shown["node"], shown["state"]) for shown in json.loads(listed)] == [
        ("GFZ", "valid"),
        ("GFZ", "not yet valid"),
    ]
    # The last day is included.
    assert json.loads(listed)[1]["valid_until"].startswith("2028-01-02T00:00:00")
    statsman.run("tokens", "revoke", str(made["id"]))
    assert "revoked" in statsman.run("tokens", "list")


@ON_ONE_STORE
def test_restrictions_can_be_managed(statsman: Statsman, store: Store) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    assert "restricted" in statsman.run("nodes", "set-policy", "GFZ", "restricted")
    refused = statsman("networks", "set-policy", "GFZ", "GE", "inverted")
    assert (refused.returncode, "GE at GFZ" in refused.stderr) == (1, True)
    assert statsman.run("networks", "set-policy", "GFZ", "GE", "inverted", "--new") == "GE at GFZ is open\n"
    assert "GE" in statsman.run("nodes", "set-policy", "GFZ", "restricted")
    statsman.run("networks", "set-policy", "GFZ", "ZE2012", "default", "--new")
    statsman.run("networks", "set-group", "GFZ", "ZE2012", "group-of-ze")
    statsman.run("nodes", "set-group", "GFZ", "gfz")
    (listed,) = json.loads(statsman.run("networks", "list", "--restricted", "--json"))
    assert (listed["name"], listed["eas_group"], listed["node_eas_group"]) == ("ZE2012", "group-of-ze", "gfz")
    assert "no such node: BGR" in statsman("networks", "list", "--node", "BGR").stderr
    assert statsman("networks", "set-policy", "GFZ", "Other", "inverted", "--new").returncode == 2
    statsman.run("networks", "set-group", "GFZ", "ZE2012", "--none")
    assert store.registry.list_networks()[1].eas_group is None
    assert statsman("nodes", "set-group", "GFZ").returncode == 2
    assert statsman("nodes", "add", "Other", "--contact", "operator@gfz.example").returncode == 2


@ON_ONE_STORE
def test_token_is_for_a_node_or_a_network(statsman: Statsman, store: Store) -> None:
    added = json.loads(statsman.run("tokens", "add", "--network", "FR", "--json"))
    assert added["network"] == "FR"
    assert store.registry.find_network_of_token(added["token"], datetime.datetime.now(tz=datetime.UTC)) == "FR"
    assert json.loads(statsman.run("tokens", "list", "--json"))[0]["network"] == "FR"
    assert statsman("tokens", "add").returncode == 2
    assert statsman("tokens", "add", "GFZ", "--network", "FR").returncode == 2


# Payloads


@pytest.fixture
def sent(store: Store) -> list[int]:
    """Register a node and send three payloads; the second is superseded by the third."""
    node, _ = make_node(store, "A/..")
    first, second = (
        store.dataselect.ingest(node, payload(row(bytes=number), days_coverage=[f"2026-10-{number:02}"])).payload
        for number in (1, 2)
    )
    third, _ = store.dataselect.replace(node, payload(row(bytes=4), days_coverage=["2026-10-02", "2026-10-03"]))
    return [first, second, third.payload]


def test_payloads_can_be_managed(statsman: Statsman, sent: list[int]) -> None:
    listed = json.loads(statsman.run("payloads", "list", "--json"))
    assert [(one["payload"], one["state"], one["superseded_by"]) for one in listed] == [
        (sent[0], "in force", None), (sent[1], "superseded", sent[2]), (sent[2], "in force", None),
    ]  # fmt: skip
    assert "2026-10-02 to 2026-10-03" in statsman.run("payloads", "list", "--node", "A/..", "--in-force")
    assert f"superseded by {sent[2]}" in statsman.run("payloads", "show", str(sent[1]))
    assert json.loads(statsman.run("payloads", "show", str(sent[1]), "--json")) == listed[1]
    assert "retracted" in statsman.run("payloads", "retract", str(sent[2]))
    assert [one["payload"] for one in json.loads(statsman.run("payloads", "list", "--in-force", "--json"))] == [
        sent[0]
    ]


@ON_ONE_STORE
@pytest.mark.parametrize(
    "words",
    [
        ("payloads", "show", "999"), ("payloads", "retract", "999"), ("payloads", "export", "999"),
        ("payloads", "show", str(10**30)), ("payloads", "list", "--node", "B"), ("coverage", "--node", "B"),
        ("payloads", "replay", "--node", "B"), ("db", "verify", "--node", "B"),
        ("payloads", "export", "--node", "B"),
    ],
)  # fmt: skip
def test_unknown_names_are_reported(statsman: Statsman, sent: list[int], words: tuple[str, ...]) -> None:
    refused = statsman(*words)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert words[-1] in refused.stderr
    assert "no such" in refused.stderr


@ON_ONE_STORE
def test_payloads_are_exported_as_sent(statsman: Statsman, store: Store, sent: list[int], tmp_path: Path) -> None:
    written = statsman.run("payloads", "export", "--to", str(tmp_path / "out")).split()
    assert [Path(name).name for name in written] == [
        f"A____2026-10-01_2026-10-01_{sent[0]}.json.gz", f"A____2026-10-02_2026-10-03_{sent[2]}.json.gz",
    ]  # fmt: skip
    assert json.loads(gzip.decompress(Path(written[1]).read_bytes()))["stats"][0]["bytes"] == 4
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(Path(name).name for name in written)
    assert statsman("payloads", "export", str(sent[1]), "--node", "A/..").returncode == 2
    for place in ("/proc/nothing", "/dev/null"):
        refused = statsman("payloads", "export", "--to", place)
        assert refused.returncode in {1, 2}
        assert place in refused.stderr
        assert "Traceback" not in refused.stderr
    (one,) = statsman.run("payloads", "export", str(sent[1]), "--to", str(tmp_path)).split()
    assert json.loads(gzip.decompress(Path(one).read_bytes()))["days_coverage"] == ["2026-10-02"]


def test_verify_finds_and_replay_repairs_differences(statsman: Statsman, store: Store, sent: list[int]) -> None:
    assert "differences: none" in statsman.run("db", "verify")
    with store.database.transaction(write=True) as connection:
        connection.cursor().execute("UPDATE dataselect_stats_by_network SET bytes = 9")
    wrong = statsman("db", "verify", "--node", "A/..")
    assert wrong.returncode == 1
    assert "A/.. 2026-10 dataselect_stats_by_network network=GE: bytes is 9, must be 5" in wrong.stdout
    assert "payloads replay" in wrong.stderr
    (message,) = json.loads(statsman("db", "verify", "--json").stdout)
    assert (message["stored"]["bytes"], message["due"]["bytes"], message["key"]) == (9, 5, {"network": "GE"})
    assert "1 months" in statsman.run("payloads", "replay")
    assert "differences: none" in statsman.run("db", "verify")


def test_replay_rebuilds_another_database(statsman: Statsman, sent: list[int], tmp_path: Path) -> None:
    other = Statsman(f"sqlite:///{tmp_path / 'other.db'}")
    other.run("db", "migrate")
    assert "copied 3 payloads" in other.run("payloads", "replay", "--from", statsman.uri)
    assert "months of nodes: 1, differences: none" in other.run("db", "verify")
    again = other("payloads", "replay", "--from", statsman.uri)
    assert (again.returncode, "The database is not empty" in again.stderr) == (1, True)
    assert other("payloads", "replay", "--from", "mysql://x/y").returncode != 0
    assert statsman("payloads", "replay", "--from", "sqlite:////nowhere/x.db").returncode == 1


def test_migration_fills_new_sums_of_embedded_databases(
    statsman: Statsman, sent: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    other = Statsman(f"sqlite:///{path}")
    assert "rebuilt" not in other.run("db", "migrate")
    other.run("payloads", "replay", "--from", statsman.uri)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE dataselect_stats_by_station")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0015_sums-by-station'")
    assert "rebuilt A/.. 2026-10" in other.run("db", "migrate")
    assert "differences: none" in other.run("db", "verify")


@pytest.fixture
def sent_with_period(store: Store, sent: list[int]) -> list[int]:
    """Send two more: of a server's log with a stray request, and of a quiet day."""
    node = store.registry.find_sender_of_token(store.registry.add_token("A/..", NOW, NOW + DAY)[1], NOW).node
    day = {"period": {"start": "2026-10-05", "end": "2026-10-05"}}
    stray = payload(row(), days_coverage=["2026-10-05", "2026-10-08"], source="server.1", **day)
    quiet = payload(days_coverage=[], period={"start": "2026-10-06", "end": "2026-10-07"})
    return [store.dataselect.ingest(node, one).payload for one in (stray, quiet)]


def test_source_and_period_are_listed_and_shown(statsman: Statsman, sent_with_period: list[int]) -> None:
    listed = json.loads(statsman.run("payloads", "list", "--json"))
    assert [(one["source"], one["period"], one["days"]) for one in listed[-2:]] == [
        ("server.1", {"start": "2026-10-05", "end": "2026-10-05"}, ["2026-10-05", "2026-10-08"]),
        ("", {"start": "2026-10-06", "end": "2026-10-07"}, []),
    ]
    assert "server.1" in statsman.run("payloads", "list")
    shown = statsman.run("payloads", "show", str(sent_with_period[0]))
    for line in ("source: +server.1", "period: +2026-10-05", r"days: +2026-10-05 to 2026-10-08 \(2 of them\)"):
        assert re.search(f"^{line}$", shown, re.MULTILINE), shown
    shown = statsman.run("payloads", "show", str(sent_with_period[1]))
    for line in (r"source: +\(whole node\)", "period: +2026-10-06 to 2026-10-07", "days: +none"):
        assert re.search(f"^{line}$", shown, re.MULTILINE), shown


@ON_ONE_STORE
def test_files_are_named_by_period_and_source(
    statsman: Statsman, sent_with_period: list[int], tmp_path: Path
) -> None:
    written = statsman.run("payloads", "export", *map(str, sent_with_period), "--to", str(tmp_path)).split()
    assert [Path(name).name for name in written] == [
        f"A____2026-10-05_2026-10-05_server.1_{sent_with_period[0]}.json.gz",
        f"A____2026-10-06_2026-10-07_{sent_with_period[1]}.json.gz",
    ]
    exported = json.loads(gzip.decompress(Path(written[0]).read_bytes()))
    assert (exported["source"], exported["period"]) == ("server.1", {"start": "2026-10-05", "end": "2026-10-05"})


@ON_ONE_STORE
def test_calendar_uses_periods(statsman: Statsman, sent_with_period: list[int]) -> None:
    assert json.loads(statsman.run("coverage", "--node", "A/..", "--year", "2026", "--json")) == {
        f"2026-10-0{day}": 1 for day in (1, 2, 3, 5, 6, 7)
    }


@ON_ONE_STORE
def test_last_day_of_a_token_is_included(statsman: Statsman) -> None:
    statsman.run("nodes", "add", "GFZ", "--contact", "operator@gfz.example")
    for given, due in (
        ("2099-12-31", "2100-01-01T00:00:00"),
        ("2099-12-31T00:00:00", "2099-12-31T00:00:00"),
        ("9999-12-31", "9999-12-31T23:59:59"),
    ):
        made = json.loads(statsman.run("tokens", "add", "GFZ", "--valid-until", given, "--json"))
        assert made["valid_until"] == f"{due}Z"
    assert statsman("tokens", "add", "GFZ", "--valid-until", "2099-13-31").returncode == 2


@ON_ONE_STORE
def test_calendar_shows_sent_days(statsman: Statsman, sent: list[int]) -> None:
    shown = statsman.run("coverage", "--node", "A/..", "--year", "2026")
    (october,) = [line for line in shown.splitlines() if line.startswith("Oct")]
    assert october == "Oct  ■■■" + 28 * "·"
    assert json.loads(statsman.run("coverage", "--node", "A/..", "--year", "2026", "--json")) == {
        "2026-10-01": 1, "2026-10-02": 1, "2026-10-03": 1,
    }  # fmt: skip
    assert "0 of 365 days" in statsman.run("coverage", "--node", "A/..", "--year", "2021")
