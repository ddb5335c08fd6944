"""Access logs."""

import datetime
from collections import Counter
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.connections import Command, Connect, Disconnect, decode_records, encode_records
from eida_statistics.ringserver.access_log import MAX_LINE_BYTES, AccessLogParser, LoggedRecord, Parsed
from eida_statistics.ringserver.identity import ClientKey
from support.access_logs import CLOSED, COMMAND, CONNECT, CONNECTED, DISCONNECT, REAL_ACCESS, Line

KEY = ClientKey(b"salt")
PARSER = AccessLogParser(KEY, "rs-a")
SOURCE = "2026-11-22T02:03:11Z-0123456789abcdef"
WHOLE = CONNECT.text()
LINES = (CONNECT, COMMAND, CONNECT, Line(address="2001:db8::1"), DISCONNECT, Line("other"), DISCONNECT)
LOG = b"".join(line.text() for line in LINES)


def parse(text: bytes, offset: int = 0, line: int = 1, limit: int = 10_000) -> Parsed:
    return PARSER.parse(text, SOURCE, offset, line, limit=limit)


def find_rejected(text: bytes) -> list[tuple[int, str]]:
    return [(one.line, one.reason) for one in parse(text).rejections]


def find_positions(records: list[LoggedRecord]) -> list[int]:
    return [record.position for record in records if not isinstance(record, Command)]


@pytest.mark.skipif(not REAL_ACCESS.exists(), reason="the real logs are not here")
def test_real_logs_have_the_known_events() -> None:
    texts = [path.read_bytes() for path in sorted(REAL_ACCESS.iterdir())]
    lines = [line for text in texts for line in text.splitlines() if b'"event":"command"' not in line]
    parsed = [PARSER.parse(text, PARSER.identify(text) or "", 0, 1) for text in texts]
    records = [record for one in parsed for record in one.records]
    assert not any(one.rejections for one in parsed)
    assert Counter(type(record) for record in records if not isinstance(record, Command)) == {
        Connect: 91,
        Disconnect: 86,
    }
    assert len(lines) - len(set(lines)) == 27
    identities = {(one.source, one.position) for one in records if not isinstance(one, Command)}
    assert len(identities) == 177
    assert sum(isinstance(one, Disconnect) and one.protocol == "HTTP" for one in records) == 26
    assert [one.protocol for one in records if isinstance(one, Disconnect)].count(None) == 1
    assert decode_records(encode_records([*records])) == records


@pytest.mark.skipif(not REAL_ACCESS.exists(), reason="the real logs are not here")
def test_records_contain_nothing_of_a_person() -> None:
    text = b"".join(path.read_bytes() for path in sorted(REAL_ACCESS.iterdir()))
    sent = encode_records([*parse(text).records])
    clients = [msgspec.json.decode(line)["client"] for line in text.splitlines()]
    persons = {client[name] for client in clients for name in ("ip", "hostname", "user_agent") if name in client}
    assert not [person for person in {*persons, "alice"} if person.encode() in sent]


def test_session_has_equal_digits_in_all_events() -> None:
    connect, command, disconnect = parse(CONNECT.text() + COMMAND.text() + DISCONNECT.text()).records
    assert isinstance(connect, Connect)
    assert isinstance(disconnect, Disconnect)
    assert connect.session == command.session == disconnect.session
    assert connect.time == disconnect.connected == datetime.datetime.fromisoformat(CONNECTED)
    assert disconnect.time == datetime.datetime.fromisoformat(CLOSED)
    assert (connect.protocol, disconnect.protocol, connect.port) == (None, "SeedLink", 18000)


@pytest.mark.parametrize(
    "other", [Line(port=18001), Line(connected=CLOSED), Line(address="192.0.2.18")], ids=["port", "time", "address"]
)
def test_other_session_has_other_digits(other: Line) -> None:
    first, second = parse(CONNECT.text() + other.text()).records
    assert first.session != second.session


def test_command_is_kept_once() -> None:
    other = COMMAND._replace(protocol="DataLink")
    unknown = COMMAND._replace(protocol=None)
    records = parse(b"".join(line.text() for line in (COMMAND, unknown, COMMAND, other))).records
    assert [record.protocol for record in records if isinstance(record, Command)] == ["SeedLink", "DataLink"]


@pytest.mark.parametrize("name", ["Unknown", "", "x" * 40, "né", "a\nb"])
def test_odd_protocol_is_unknown(name: str) -> None:
    (record,) = parse(DISCONNECT._replace(protocol=name).text()).records
    assert isinstance(record, Disconnect)
    assert record.protocol is None


@pytest.mark.parametrize(
    ("damaged", "rejected", "positions"),
    [
        pytest.param(WHOLE[:100] + WHOLE, [(1, "not JSON")], [100], id="cut"),
        pytest.param(WHOLE[:3] + WHOLE, [(1, "not JSON")], [3], id="cut early"),
        pytest.param(bytes(50) + WHOLE, [(1, "NUL bytes")], [50], id="nul"),
        pytest.param(WHOLE.rstrip() + WHOLE, [], [0, len(WHOLE) - 1], id="glued"),
        pytest.param(WHOLE.rstrip() + b"\0\0x\n" + WHOLE, [(1, "not JSON")], [0, len(WHOLE) + 3], id="behind"),
        pytest.param(b"\xff" * 9 + WHOLE, [(1, "not JSON")], [9], id="not UTF-8"),
        pytest.param(
            WHOLE.replace(b"192", b"\xff92") + WHOLE, [(1, "not JSON")], [len(WHOLE)], id="address not UTF-8"
        ),
        pytest.param(b"x" * (1 << 20) + WHOLE, [(1, "not JSON")], [1 << 20], id="one megabyte"),
        pytest.param(b"[" * (1 << 20) + b"\n" + WHOLE, [(1, "not JSON")], [(1 << 20) + 1], id="deep"),
        pytest.param(b"\xef\xbb\xbf\x1e" + WHOLE, [], [4], id="byte order mark"),
        pytest.param(b"\n\r\n \t" + WHOLE, [], [5], id="empty lines"),
        pytest.param(
            WHOLE.replace(b":18000", b":70000").replace(b"Jane", b"J\xffne"), [(1, "not JSON")], [], id="two faults"
        ),
        pytest.param(
            WHOLE + WHOLE.replace(b":18000", b":70000"),
            [(2, "client.server_port: not a whole number from 0 to 65535")],
            [0],
            id="port",
        ),
        pytest.param(WHOLE.replace(b"event", b"evint"), [(1, "event: missing")], [], id="no event"),
        pytest.param(WHOLE.replace(b"2026-11-22T02:03:11", b"yesterday"), [(1, "no such time")], [], id="time"),
        pytest.param(
            WHOLE.replace(b"2026-11-22", b"1999-11-22"), [(1, "the time is before 2000")], [], id="clock not set"
        ),
        pytest.param(b'{"a":1}\n', [(1, "log_time: missing")], [], id="other object"),
    ],
)
def test_damaged_part_is_rejected(damaged: bytes, rejected: list[tuple[int, str]], positions: list[int]) -> None:
    parsed = parse(damaged)
    assert find_rejected(damaged) == rejected
    assert find_positions(parsed.records) == positions
    assert (parsed.length, parsed.lines) == (len(damaged), damaged.count(b"\n"))


def test_future_is_rejected() -> None:
    latest = datetime.datetime.fromisoformat(CONNECTED)
    parsed = PARSER.parse(CONNECT.text() + DISCONNECT.text(), SOURCE, 0, 1, latest=latest)
    assert len(parsed.records) == 1
    assert [one.reason for one in parsed.rejections] == ["the time is in the future"]


def test_unfinished_line_is_left() -> None:
    assert parse(WHOLE + WHOLE[:-1]).length == len(WHOLE)
    assert parse(WHOLE[:-1]) == Parsed([], [], 0, 0)


def test_endless_line_is_read_in_pieces() -> None:
    text = b"x" * (MAX_LINE_BYTES + 5)
    parsed = parse(text)
    assert (parsed.length, parsed.lines) == (MAX_LINE_BYTES, 0)
    assert [one.reason for one in parsed.rejections] == ["not JSON"]


def test_source_is_that_of_the_first_object() -> None:
    source = PARSER.identify(LOG)
    assert source is not None
    assert source.startswith(f"{CONNECTED}-")
    assert source == PARSER.identify(WHOLE) == PARSER.identify(WHOLE[:40] + WHOLE + DISCONNECT.text())
    assert source != AccessLogParser(ClientKey(b"other"), "rs-a").identify(LOG)
    assert PARSER.identify(WHOLE[:-1]) is None
    assert PARSER.identify(b"START CLIENT\n" * 3) is None


@given(st.lists(st.integers(0, len(LOG)), max_size=8), st.integers(1, 8))
def test_any_cut_gives_the_same_records(cuts: list[int], limit: int) -> None:
    glued = LOG.replace(b"}}\n", b"}}", 2)
    records: list[LoggedRecord] = []
    text, offset, line = b"", 0, 1
    for first, last in pairwise(sorted([0, *cuts, len(glued)])):
        text += glued[first:last]
        while (parsed := parse(text, offset, line, limit)).length:
            records += parsed.records
            text = text[parsed.length :]
            offset, line = offset + parsed.length, line + parsed.lines
    assert [one for one in records if not isinstance(one, Command)] == [
        one for one in parse(glued).records if not isinstance(one, Command)
    ]
    assert (offset, line) == (len(glued), 1 + glued.count(b"\n"))


@given(st.data(), st.binary(max_size=40))
def test_damage_loses_only_what_it_touches(data: st.DataObject, damage: bytes) -> None:
    start = data.draw(st.integers(0, len(LOG) - 1))
    end = data.draw(st.integers(start, len(LOG)))
    damaged = LOG[:start] + damage + LOG[end:]
    found = set(find_positions(parse(damaged).records))
    moved = len(damaged) - len(LOG)
    offset = 0
    for line in LINES:
        length = len(line.text())
        if line.event in ("connect", "disconnect"):
            # Without its line break, a record still counts, but its line may go on.
            if offset + length <= start:
                assert offset in found
            elif offset >= end and b"\n" in LOG[offset:]:
                assert offset + moved in found
        offset += length
