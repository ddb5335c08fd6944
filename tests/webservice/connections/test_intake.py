"""Records are stored once, on both databases: doors, ringservers, their sessions and sums."""

import datetime
import json
import random
from collections.abc import Sequence

import msgspec
import pytest

from eida_statistics.connections import (
    Alive,
    CloseAfter,
    Command,
    Connect,
    Count,
    Disconnect,
    Record,
    ServerStart,
    Snapshot,
)
from eida_stats_webservice.connections.errors import (
    ArchivedEvents,
    ConflictingEvent,
    ForeignSensor,
    NameTaken,
    SnapshotUnknown,
    UnusableSensor,
    UnusableTime,
)
from eida_stats_webservice.connections.models import Sensor
from eida_stats_webservice.registry.models import Node
from support.live_connections import (
    PORT,
    START,
    LiveConnections,
    at,
    connect,
    disconnect,
    list_session,
    read_access_logs,
)
from support.tables import count, select
from support.transfer_logs import REAL_LOGS

ACCESS_LOGS = REAL_LOGS / "access-4.5.3"
NEEDS_ACCESS_LOGS = pytest.mark.skipif(not ACCESS_LOGS.exists(), reason="the access logs are not here")
HOUR = datetime.timedelta(hours=1)
DAY = 86400


@pytest.fixture
def node(live: LiveConnections) -> Node:
    return live.add_node("GFZ")


@pytest.fixture
def door(live: LiveConnections, node: Node) -> Sensor:
    """Return a door that leads from east to west. The hall contains both."""
    hall = live.add_space("hall", node=node)
    east, west = (live.add_space(name, hall, node) for name in ("east", "west"))
    door = live.add_door(node, "423")
    live.install(door, east, -1)
    live.install(door, west)
    return door


def pass_door(seconds: float, direction: int = 1, sensor: str = "423") -> Count:
    return Count(sensor, at(seconds), direction)  # type: ignore[arg-type]


# Doors


def test_same_event_twice_counts_once(live: LiveConnections, node: Node, door: Sensor) -> None:
    assert live.send(node, pass_door(1), pass_door(1)).created == 1
    assert live.send(node, pass_door(1), pass_door(1, -1)).created == 1
    assert live.send(node, pass_door(1)).shown == []
    # At the same time, direction 1 and direction -1 are two events.
    assert len(live.read_events()) == 2
    assert count(live.store, "sensor_log") == 5


def test_door_between_two_spaces(live: LiveConnections, node: Node, door: Sensor) -> None:
    stored = live.send(node, pass_door(1), pass_door(2), pass_door(3, -1))
    assert {shown.space: shown.count for shown in stored.shown} == {"east": -1, "west": 1}
    assert live.count_all([at(1), at(2), at(3)]) == [
        {"federation": 0, "hall": 0, "east": -one, "west": one} for one in (1, 2, 1)
    ]
    # Nobody enters or leaves what contains both sides.
    assert live.read_hours() == {("east", START): (1, 2), ("west", START): (2, 1)}


def test_unknown_sensor_is_kept_but_not_counted(live: LiveConnections, node: Node) -> None:
    stored = live.send(node, pass_door(1, sensor="new"))
    assert (stored.created, stored.shown) == (1, [])
    assert live.send(node, pass_door(1, sensor="new")).created == 0
    assert select(live.store, "SELECT kind FROM sensors") == [("unknown",)]
    assert [bool(placed) for (placed,) in select(live.store, "SELECT placed FROM sensor_events")] == [False]
    assert live.read_hours() == {}


def test_name_of_a_door_is_logged_as_it_is(live: LiveConnections, node: Node) -> None:
    live.send(node, Count("\\N\\t\\", at(1), 1))
    assert select(live.store, "SELECT sensor FROM sensor_log") == [("\\N\\t\\",)]


def test_sensor_counts_where_it_is_at_that_time(live: LiveConnections, node: Node) -> None:
    old, new = (live.add_space(name, node=node) for name in ("old", "new"))
    door = live.add_door(node, "d")
    live.install(door, old, 1, at(0), at(10))
    live.install(door, new, 1, at(10), at(20))
    # The late one belongs to the old space, the one at the moment of the move to the new one.
    for seconds in (19.999999, 20, 10, 9.999999, 0, -0.000001):
        live.send(node, pass_door(seconds, sensor="d"))
    assert (live.count("old"), live.count("new")) == (2, 2)
    assert sorted(bool(placed) for (placed,) in select(live.store, "SELECT placed FROM sensor_events")) == [
        *[False] * 2, *[True] * 4,
    ]  # fmt: skip


def test_negative_count_is_stored_as_it_is(live: LiveConnections, node: Node, door: Sensor) -> None:
    (east, west) = live.send(node, pass_door(5)).shown
    assert (east.space, east.count, west.space, west.count) == ("east", -1, "west", 1)


def test_late_event_changes_no_shown_count(live: LiveConnections, node: Node, door: Sensor) -> None:
    live.send(node, pass_door(40 * DAY))
    shown = "SELECT space_id, recorded, count FROM space_count ORDER BY id"
    before = select(live.store, shown)
    live.send(node, pass_door(1))
    assert live.count("west", at(1)) == 1
    assert live.count("west") == 2
    assert select(live.store, shown)[: len(before)] == before


def test_hours_are_those_of_utc(live: LiveConnections, node: Node, door: Sensor) -> None:
    india = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    live.send(node, Count("423", at(600).astimezone(india), 1))
    assert live.read_hours() == {("east", START): (0, 1), ("west", START): (1, 0)}
    live.send(node, msgspec.structs.replace(connect("x", 600, 0), time=at(600).astimezone(india)))
    # The event moves within the hour of UTC.
    live.send(node, disconnect("x", 600, 5000, 100))
    assert live.read_hours()["GFZ", START] == (1, 0)
    assert live.send(node, pass_door(600)).created == 0
    assert live.count("west", at(600).astimezone(india)) == 1


@pytest.mark.parametrize("time", ["1999-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z"])
def test_unusable_times_are_refused(live: LiveConnections, node: Node, time: str) -> None:
    moment = datetime.datetime.fromisoformat(time)
    records: list[Record] = [
        Count("d", moment, 1),
        msgspec.structs.replace(connect("x", 0, 0), time=moment),
        msgspec.structs.replace(disconnect("x", 0, 5, 0), connected=moment),
        ServerStart("main", moment),
        ServerStart("main", at(0), moment),
        CloseAfter("main", moment, 9),
        Snapshot("main", moment, []),
        Snapshot("main", at(9), [msgspec.structs.replace(list_session("x", 0), connected=moment)]),
    ]
    for record in records:
        with pytest.raises(UnusableTime, match="record 2"):
            live.send(node, pass_door(1), record)
    assert count(live.store, "sensor_log") == 0


def test_clocks_may_be_five_minutes_ahead(live: LiveConnections, node: Node) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    live.send(node, Count("d", now + datetime.timedelta(minutes=4), 1))
    with pytest.raises(UnusableTime, match="The time of the server is 20"):
        live.send(node, Count("d", now + datetime.timedelta(minutes=6), 1))


def test_sensors_belong_to_one_node(live: LiveConnections, node: Node, door: Sensor) -> None:
    other = live.add_node("RESIF")
    with pytest.raises(ForeignSensor, match="423"):
        live.send(other, pass_door(1))
    # Unknown sensors of two nodes may have one name.
    for one in (node, other):
        assert live.send(one, pass_door(1, sensor="new")).created == 1


@pytest.mark.parametrize(
    "records",
    [
        [Count("GFZ/main", at(1), 1)],
        [connect("x", 1, 0), Count("GFZ/main", at(1), 1)],
    ],
)
def test_ringserver_is_no_door(live: LiveConnections, node: Node, records: list[Record]) -> None:
    with pytest.raises(UnusableSensor, match="GFZ/main"):
        live.send(node, *records)
    live.send(node, Alive("main"))
    with pytest.raises(UnusableSensor, match="GFZ/main"):
        live.send(node, *records)


# Ringservers


def test_ringserver_registers_itself(live: LiveConnections, node: Node) -> None:
    live.send(node, Alive("main"))
    live.send(node, Alive("second"), connect("x", 1, 0))
    found = select(
        live.store,
        "SELECT one.name, above.name, one.restricted FROM spaces one"
        " LEFT JOIN spaces above ON above.id = one.parent_id ORDER BY one.name",
    )
    assert [(name, above, bool(restricted)) for name, above, restricted in found] == [
        ("GFZ", "federation", False), ("GFZ/main", "GFZ", True), ("GFZ/second", "GFZ", True),
        ("federation", None, False),
    ]  # fmt: skip


def test_taken_name_is_refused(live: LiveConnections, node: Node) -> None:
    other = live.add_node("RESIF")
    live.add_space("gfz/MAIN", node=other)
    with pytest.raises(NameTaken, match="gfz/MAIN"):
        live.send(node, connect("x", 1, 0))
    assert count(live.store, "sensors") == 0


def test_same_client_at_two_instances_is_two_sessions(live: LiveConnections, node: Node) -> None:
    # Even the log files have the same digits.
    one = [connect("x", 1, 0), disconnect("x", 1, 9, 100)]
    two = [msgspec.structs.replace(line, instance="second") for line in one]
    assert live.send(node, *one).created == 2
    assert live.send(node, *two).created == 2
    assert live.send(node, *one, *two).created == 0
    assert live.count_all([at(5)]) == [{"federation": 2, "GFZ": 2, "GFZ/main": 1, "GFZ/second": 1}]
    other = live.add_node("RESIF")
    assert live.send(other, *one).created == 2
    assert live.count("federation", at(5)) == 3


def test_same_file_again_grown_counts_once(live: LiveConnections, node: Node) -> None:
    lines = [connect("x", 1, 0), connect("x", 1, 100), connect("y", 2, 200), disconnect("x", 1, 9, 300)]
    assert live.send(node, *lines[:2]).created == 2
    assert live.send(node, *lines).created == 2
    assert live.send(node, *lines).shown == []
    assert live.count("GFZ") == 2
    assert count(live.store, "sensor_log") == 10


@pytest.mark.parametrize(
    "other",
    [
        connect("y", 1, 0),
        connect("x", 2, 0),
        disconnect("x", 1, 1, 0),
        connect("x", 1, 0, protocol="HTTP"),
        msgspec.structs.replace(connect("x", 1, 0), port=PORT + 1),
        msgspec.structs.replace(connect("x", 1, 100), port=PORT + 1),
        msgspec.structs.replace(disconnect("x", 1, 9, 100), connected=at(2)),
    ],
)
def test_other_content_is_refused(live: LiveConnections, node: Node, other: Record) -> None:
    live.send(node, connect("x", 1, 0))
    with pytest.raises(ConflictingEvent, match=r"position 0|two ports or connect times"):
        live.send(node, connect("z", 5, 500), other)
    assert live.count("GFZ") == count(live.store, "sensor_log") == 1
    with pytest.raises(ConflictingEvent):
        live.send(node, connect("x", 1, 0, instance="new"), msgspec.structs.replace(other, instance="new"))


def test_session_across_files_and_months(live: LiveConnections, node: Node) -> None:
    # 2024-04-30T23:59:59 to 2024-05-02.
    begun, ended = 8 * DAY + 79199, 10 * DAY
    lines = [
        connect("x", begun, 0, file=1),
        connect("y", ended - 99, 0, file=2),
        disconnect("x", begun, ended, 0, file=3),
    ]
    for order in (lines, lines[::-1]):
        for line in order:
            live.send(node, line)
        assert [row[2:6] for row in live.read_sessions() if row[5]] == [(1, at(begun), at(ended), "log")]
        assert live.count_all([at(begun - 1), at(begun), at(9 * DAY), at(ended - 1), at(ended)], ["GFZ"]) == [
            {"GFZ": number} for number in (0, 1, 1, 2, 1)
        ]
        live.empty()
        node = live.add_node("GFZ")


def test_clock_that_goes_back_counts_nothing_twice(live: LiveConnections, node: Node) -> None:
    # For two hours of local time, ringserver writes to one file; the times inside are in UTC.
    lines: list[Record] = [
        connect("x", 0, 0),
        connect("x", 3600, 100),
        disconnect("x", 0, 3601, 200),
        # The clock is set back by ten seconds, and the client disconnects before it has connected.
        disconnect("x", 3600, 3595, 300),
    ]
    assert live.send(node, *lines[:2]).created == 2
    assert live.send(node, *lines[1:]).created == 2
    assert live.count_all([at(0), at(3599), at(3600), at(3601)], ["GFZ"]) == [
        {"GFZ": number} for number in (1, 1, 1, 0)
    ]


@pytest.mark.parametrize(
    ("statements", "end", "cause"),
    [
        ([ServerStart("main", at(60))], 60, "restart"),
        ([ServerStart("main", at(60), at(50))], 50, "restart"),
        ([Snapshot("main", at(30), []), Snapshot("main", at(60), [])], 30, "snapshot"),
        ([CloseAfter("main", at(0), 40)], 41, "age"),
    ],
)
def test_logged_disconnect_wins(
    live: LiveConnections, node: Node, statements: Sequence[Record], end: float, cause: str
) -> None:
    live.send(node, connect("x", 1, 0), *statements)
    assert [row[4:6] for row in live.read_sessions()] == [(at(end), cause)]
    assert (live.count("GFZ", at(end - 1)), live.count("GFZ")) == (1, 0)
    live.send(node, disconnect("x", 1, 3700, 100))
    assert [row[4:6] for row in live.read_sessions()] == [(at(3700), "log")]
    assert [live.count("GFZ", at(time)) for time in (end, 3699, 3700)] == [1, 1, 0]
    assert live.read_hours() == {
        **{(name, START): (1, 0) for name in ("GFZ", "GFZ/main")},
        **{(name, START + HOUR): (0, 1) for name in ("GFZ", "GFZ/main")},
    }


def test_listed_session_is_still_open(live: LiveConnections, node: Node) -> None:
    live.send(node, connect("x", 1, 0), Snapshot("main", at(5), [list_session("x", 1)]))
    live.send(node, CloseAfter("main", at(0), 10))
    assert live.read_sessions()[0][5] == "age"
    # The list is the same, but it is newer.
    live.send(node, Snapshot("main", at(20), [list_session("x", 1)]), CloseAfter("main", at(19), None))
    assert live.read_sessions()[0][5] is None
    assert live.count("GFZ") == 1


def test_second_snapshot_confirms_an_end_before_a_restart(live: LiveConnections, node: Node) -> None:
    live.send(node, connect("x", 1, 0))
    for statement in (Snapshot("main", at(30), []), ServerStart("main", at(40)), Snapshot("main", at(60), [])):
        live.send(node, statement)
    assert [row[4:6] for row in live.read_sessions()] == [(at(30), "snapshot")]


def test_snapshot_begins_unknown_sessions(live: LiveConnections, node: Node) -> None:
    listed = [list_session("x", 1), list_session("x", 1), list_session("y", 2)]
    live.send(node, Snapshot("main", at(30), listed))
    assert live.count_all([at(0), at(1), at(2)], ["GFZ"]) == [{"GFZ": number} for number in (0, 2, 3)]
    # Their lines are read later.
    live.send(node, connect("x", 1, 0), disconnect("x", 1, 40, 100), connect("y", 2, 200))
    assert live.count("GFZ", at(39)) == 3
    assert live.count("GFZ") == 2


def test_snapshot_may_refer_to_the_one_before(live: LiveConnections, node: Node) -> None:
    with pytest.raises(SnapshotUnknown):
        live.send(node, Snapshot("main", at(30)))
    live.send(node, Snapshot("main", at(30), [list_session("x", 1)]), Snapshot("main", at(60)))
    live.send(node, Snapshot("main", at(90), [list_session("x", 1)]))
    details = select(live.store, "SELECT details FROM sensor_log WHERE event = 'snapshot' ORDER BY id")
    assert [sorted(json.loads(one)) for (one,) in details] == [["sessions"], [], []]
    live.send(node, ServerStart("main", at(70)))
    assert live.count("GFZ") == 1


def test_commands_show_protocols_and_are_not_logged(live: LiveConnections, node: Node) -> None:
    line = connect("x", 1, 0)
    # It may arrive before the session.
    live.send(node, Command("main", line.session, "SeedLink"), Command("main", line.session, "DataLink"))
    assert live.read_sessions() == []
    live.send(node, line)
    live.send(node, Command("main", line.session, "SeedLink"))
    assert [row[6] for row in live.read_sessions()] == ["DataLink"]
    live.send(node, disconnect("x", 1, 9, 100, protocol="HTTP"))
    assert [row[6] for row in live.read_sessions()] == ["HTTP"]
    assert count(live.store, "sensor_log") == 2


def test_log_has_no_address(live: LiveConnections, node: Node) -> None:
    recent = datetime.datetime.now(tz=datetime.UTC).replace(microsecond=0) - HOUR
    line = Connect("main", "2024-01-01T00:00:00Z-0123456789abcdef", 0, recent, "0" * 16, PORT, None, "a" * 16)
    listed = msgspec.structs.replace(list_session("y", 1), address="b" * 16)
    live.send(node, line, Snapshot("main", recent, [listed]))
    assert sorted(select(live.store, "SELECT address FROM sessions")) == [("a" * 16,), ("b" * 16,)]
    for table in ("sensor_log", "sensor_events", "sensor_states"):
        assert not {"a" * 16, "b" * 16} & {
            part for row in select(live.store, f"SELECT * FROM {table}") for part in str(row).split('"')
        }
        assert "a" * 16 not in str(select(live.store, f"SELECT * FROM {table}"))
        assert "b" * 16 not in str(select(live.store, f"SELECT * FROM {table}"))


def test_address_of_an_old_session_is_not_kept(live: LiveConnections, node: Node) -> None:
    live.send(node, connect("x", 1, 0, address="a" * 16), connect("y", 2, 100, address="b" * 16))
    live.send(node, disconnect("x", 1, 9, 200))
    assert sorted(select(live.store, "SELECT address FROM sessions"), key=str) == [("b" * 16,), (None,)]


def test_archived_months_are_refused(live: LiveConnections, node: Node) -> None:
    live.send(node, connect("x", 1, 0))
    live.execute("UPDATE connections_archived SET events_from = '2024-05-01'")
    may = 8 * DAY + 79200
    for record in (connect("y", may - 1, 100), disconnect("x", 1, 50, 100), pass_door(may - 1)):
        with pytest.raises(ArchivedEvents, match="2024-05-01"):
            live.send(node, connect("z", may, 500), record)
    # The events of an open session are kept.
    live.send(node, connect("z", may, 500), disconnect("x", 1, may + 5, 100))
    assert live.count("GFZ") == 1


# The logs of a real ringserver, stopped with SIGTERM and SIGKILL

RESTARTS = ["2026-11-22T02:05:30Z", "2026-11-22T02:07:50Z"]


def read_restarts() -> list[Record]:
    return [ServerStart("main", datetime.datetime.fromisoformat(time)) for time in RESTARTS]


@NEEDS_ACCESS_LOGS
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_real_logs_in_any_order(live: LiveConnections, node: Node, seed: int | None) -> None:
    records = read_access_logs(ACCESS_LOGS)
    assert [sum(isinstance(record, kind) for record in records) for kind in (Connect, Disconnect)] == [91, 86]
    moments = [datetime.datetime.fromisoformat(f"2026-11-22T{time}Z") for time in TIMES]
    if seed is None:
        live.send(node, *records)
        assert [counts["GFZ"] for counts in live.count_all(moments)] == [21, 0, 5, 5]
        live.send(node, *read_restarts())
    else:
        records += read_restarts()
        random.Random(seed).shuffle(records)
        for start in range(0, len(records), 40):
            live.send(node, *records[start : start + 60])
    assert live.count_all(moments) == [
        {"federation": number, "GFZ": number, "GFZ/main": number} for number in (21, 0, 5, 0)
    ]
    assert live.count("GFZ") == 0
    assert find_highest(live) == 23
    protocols = select(live.store, "SELECT protocol, count(*) FROM sessions WHERE closed_by = 'log' GROUP BY 1")
    assert dict(protocols)["HTTP"] == 26


TIMES = ["02:03:33", "02:05:30", "02:07:49", "02:07:50"]


def find_highest(live: LiveConnections) -> int:
    levels = [0]
    for _, _, _, _, direction, *_ in sorted(live.read_events(), key=lambda row: (row[1], row[0], *row[2:4])):
        levels.append(levels[-1] + direction)
    return max(levels)
