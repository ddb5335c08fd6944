"""Transfer logs in the text format: records of real servers, damaged ones, and forged client ids."""

import json
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics.errors import ForeignLog
from eida_statistics.ringserver.events import Event, RecordState, Rejection, Skipped, TransferRecord, Unfinished
from eida_statistics.ringserver.fields import parse_time
from eida_statistics.ringserver.reader import read_events
from eida_statistics.ringserver.simple_records import read_simple
from eida_statistics.ringserver.transfer_log import NO_STREAMS, START, read_record
from support.transfer_logs import REAL_LOGS, REAL_TEXT, Log, Stream, read_files

OTHER = Log(host="victim.example.net", address="198.51.100.9", streams=(Stream(bytes=4096, packets=8),))
FORGED_TIME = "2001-01-01T00:00:00Z"
FORGED_TAIL = Log(written=FORGED_TIME, connected=FORGED_TIME).tail()
real = pytest.mark.skipif(not REAL_LOGS.exists(), reason="the real logs are not here")


def read(log: bytes) -> list[Event]:
    return list(read_events([log], "txlog"))


def read_records(log: bytes) -> list[TransferRecord]:
    return [event for event in read(log) if isinstance(event, TransferRecord)]


def describe(record: TransferRecord) -> tuple[object, ...]:
    """Return what counts of a record."""
    times = (record.written_at, record.connected_at)
    return (record.address, record.direction, *times, *zip(record.ids, record.sizes, record.packets, strict=True))


def expect(log: Log) -> tuple[object, ...]:
    return (
        log.address,
        log.direction,
        parse_time(log.written),
        parse_time(log.connected),
        *map(tuple, log.streams),
    )


@real
def test_real_logs_have_the_known_totals() -> None:
    records = [record for log in read_files(REAL_TEXT).values() for record in read_records(log)]
    found = {
        direction: (len(own), sum(record.total for record in own), sum(sum(record.packets) for record in own))
        for direction in ("TX", "RX")
        if (own := [record for record in records if record.direction == direction])
    }
    assert found == {"TX": (67, 4179995, 8726), "RX": (30, 1609856, 3979)}
    assert sum(len(record.ids) for record in records) == 574
    assert {record.state for record in records} == {RecordState.COMPLETE}


@real
def test_real_logs_have_each_row_of_the_truth() -> None:
    found: Counter[tuple[str, ...]] = Counter()
    for name, log in read_files(REAL_TEXT).items():
        window = name.split("-")[1]
        for record in read_records(log):
            for one, size in zip(record.ids, record.sizes, strict=True):
                found[record.direction, record.address, window, one] += size
    truth = json.loads((REAL_LOGS / "truth-text.json").read_text())["exact"]
    assert len(truth) == 500
    for row in truth:
        window = row["window_start"].replace("-", "").replace(":", "")[:13]
        assert found[row["direction"], row["ip"], window, row["stream_id"]] == row["client_bytes"], row


@pytest.mark.parametrize(
    "log",
    [
        Log(),
        Log(written="2018-03-30 07:00:05", connected="2018-03-29 07:00:00"),
        Log(address="2001:db8::1"),
        Log(address="::ffff:192.0.2.7"),
        Log(address="fe80::1%eth0"),
        Log(host="under_score(1)"),
        Log(host="a|b[c]"),
        Log(host="höst.example"),
        Log(host="198.51.100.7"),  # and another address
        Log(direction="RX"),
        Log(id=b"\t\"'\x1b[31m @ | ) ("),
        Log(id=b"x" * 255),
        Log(id=b"\xff\xfe\x00caf\xe9"),
        Log(id=b""),
        Log(id=b"line\nbreak\r\n"),
        Log(protocol="Unknown", streams=()),  # 2020.075 writes records without streams
        Log(streams=(Stream("soh-log_no.slash"), Stream("FDSN:FR_SURF_00_V_E_C/JSON"), Stream("é/MSEED"))),
        Log(streams=(Stream("\x01soh\x7f"), Stream("a\x1cb\x85"), Stream("\xa0"))),
        Log(streams=tuple(Stream(f"XX_S{number}_00_HHZ/MSEED", 512 * number, number) for number in range(1, 300))),
    ],
    ids=lambda log: f"{log.host}-{log.address}-{len(log.id)}",
)
def test_record_is_read(log: Log) -> None:
    text = log.text()
    (record,) = read(text + OTHER.text())[:1]
    assert isinstance(record, TransferRecord)
    assert describe(record) == expect(log)
    assert (record.state, record.length, record.line) == (RecordState.COMPLETE, len(text), 1)
    (alone,) = read(text)
    assert alone == record


@pytest.mark.parametrize(
    "forged",
    [
        FORGED_TAIL.rstrip(b"\n"),
        FORGED_TAIL,
        b"x" + FORGED_TAIL + b"y",
        FORGED_TAIL + OTHER.lines(),
        OTHER.lines(),
        b"x\n" + OTHER.lines(),
        OTHER.text(),
        b"x\n" + OTHER.text(),
        OTHER.end(),
        Log().end(),
        b"x\n" + Log().end() + OTHER.head(),
        FORGED_TAIL + OTHER.lines() + Log().end(OTHER.total) + OTHER.head() + b"x",
        FORGED_TAIL + Log().end(0) + OTHER.head(),
        FORGED_TAIL + OTHER.lines() + Log().end(OTHER.total),
        FORGED_TAIL + OTHER.lines() + Log().end(7) + OTHER.head() + b"x",
        b"\n",
    ],
)
@pytest.mark.parametrize("behind", [b"", OTHER.text(), Log(id=b"y").text()], ids=["end", "other", "same"])
def test_forged_id_is_one_record(forged: bytes, behind: bytes) -> None:
    forger = Log(id=forged, streams=(Stream(bytes=512, packets=1),) * 9)
    assert len(forged) <= 255
    records = read_records(forger.text() + behind)
    assert describe(records[0]) == expect(forger)
    assert records[0].holds_forgery
    assert len(records) == 1 + bool(behind)
    assert sum(event.length for event in read(forger.text() + behind)) == len(forger.text() + behind)


@pytest.mark.parametrize("total", [0, OTHER.total, 7])
def test_forged_end_of_the_record_before_changes_nothing(total: int) -> None:
    forger = Log(id=FORGED_TAIL + OTHER.end(total))
    short = OTHER._replace(id=b"x")
    assert list(map(describe, read_records(short.text() + forger.text()))) == [expect(short), expect(forger)]


@pytest.mark.parametrize(
    "log", [Log(id=b"odd CLIENT "), Log(id=b"a\nb"), Log(id=b"x")], ids=["odd", "break", "crlf"]
)
def test_many_short_records_of_a_client_are_read(log: Log) -> None:
    text = log.text() if b"x" not in log.id else log.text().replace(b"\n", b"\r\n")
    assert [describe(record) for record in read_records(text * 2000)] == [expect(log)] * 2000


def test_record_before_a_cut_forger_has_no_forged_streams() -> None:
    # The log ends inside a record whose client id contains a record like the one before it.
    empty = CLIENTS[0]._replace(streams=())
    forger = CLIENTS[1]._replace(id=CLIENTS[0].text())
    cut = forger.head() + forger.id + b") @ "
    assert list(map(describe, read_records(empty.text() + b"\0" + cut))) == [expect(empty)]


def test_line_cut_by_a_full_disk_ends_a_record() -> None:
    streams = (Stream(), Stream("XX_CUT_00_HHZ/MSEED", 512, 1))
    whole = Log(id=b"x" * 200, streams=streams)
    torn = whole.text().removesuffix(b"12 1\n" + whole.end())
    first, second = read(torn + OTHER.text())
    assert isinstance(first, TransferRecord)
    assert (first.state, first.ids, first.length) == (RecordState.CUT, [streams[0].id], len(torn))
    assert isinstance(second, TransferRecord)
    assert describe(second) == expect(OTHER)


def test_start_line_cut_by_a_full_disk_is_rejected() -> None:
    torn = Log().head() + b"slink"
    first, second = read(torn + OTHER.text() + OTHER.text())[:2]
    assert first == Rejection(1, len(torn), "a START line that cannot be read")
    assert isinstance(second, TransferRecord)
    assert describe(second) == expect(OTHER)


def test_record_without_end_is_unfinished() -> None:
    log = Log(id=b"x" * 255, streams=(Stream(), Stream()))
    for size in range(len(b"START CLIENT "), len(log.text())):
        assert read(log.text()[:size]) == [Unfinished(1, size)]


def test_differing_total_is_reported() -> None:
    log = Log(id=b"x" * 200)
    (record, other) = read_records(log.text().removesuffix(log.end()) + log.end(9) + OTHER.text())
    assert describe(record) == expect(log)
    assert (record.state, other.state) == (RecordState.DIFFERING, RecordState.COMPLETE)


def test_equal_records_have_equal_content() -> None:
    log = Log()
    first, second, third = read_records(log.text() * 2 + log._replace(id=b"slinktool/4.3").text())
    assert first.content == second.content != third.content
    (crlf,) = read_records(log.text().replace(b"\n", b"\r\n"))
    assert crlf.content == first.content


def test_lines_without_start_are_rejected() -> None:
    text = Log().lines() + Log().lines() + Log().end() + b"\n" + OTHER.text()
    assert read(text)[:3] == [
        Rejection(1, 2 * len(Log().lines()), "stream lines without a START line"),
        Rejection(3, len(Log().end()), "an END line without a START line"),
        Skipped(4, 1),
    ]
    assert len(read_records(text)) == 1


@pytest.mark.parametrize("padding", [b"\0" * 4096, b"\xef\xbb\xbf", b"\r\n\r\n", b"\n"])
def test_padding_is_skipped(padding: bytes) -> None:
    before, record, between, _ = read(padding + Log().text() + padding + OTHER.text())
    assert (before, between) == (
        Skipped(1, len(padding)),
        Skipped(4 + padding.count(b"\n"), len(padding)),
    )
    assert isinstance(record, TransferRecord)


@pytest.mark.parametrize("time", ["1969-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "1989-01-01 00:00:00"])
def test_impossible_time_is_rejected(time: str) -> None:
    (event, _) = read(Log(written=time, id=b"x" * 200).text() + OTHER.text())
    assert isinstance(event, Rejection)
    assert "time" in event.reason


def test_too_large_number_is_rejected() -> None:
    (event,) = read(Log(id=b"x" * 200, streams=(Stream(bytes=2**53),)).text())
    assert isinstance(event, Rejection)
    assert "2^53-1" in event.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"log_time":"2026-11-22T02:02:05Z","event":"connect"}\n', "an access log"),
        (b"<!DOCTYPE html>\n<html>\n", "a web page"),
        (b"\x7fELF\x02\x01\x01\0\0\n\0\n", "not a text"),
        (
            b"START CLIENT h [192.0.2.1] (Mozilla/5.0) @ x\nA 1\nEND CLIENT h [192.0.2.1] total bytes: 1\n",
            "portable",
        ),
        (b'{"some": "thing"}\n', "no records"),
        (b"no\n" * 30, "the first 20 lines"),
        (b"no\n", "no line is one of a transfer log"),
        (b"no", "no line is one of a transfer log"),
        (b"<html>", "a web page"),
        (b'{"kind": "ringserver"}', "no records"),
        (b"\0\0" + OTHER.end() + OTHER.lines(), "no line is one of a transfer log"),
    ],
)
def test_other_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ForeignLog, match=reason):
        read(content)


@pytest.mark.parametrize(
    "log",
    [b"", b"\0\n", b"STAR", OTHER.text()[:30], OTHER._replace(written="1969-12-31T23:59:59Z").text()],
    ids=["empty", "padding", "first bytes", "first line", "bad time"],
)
def test_log_without_a_good_record_is_one(log: bytes) -> None:
    assert read_records(log) == []


def test_cut_record_without_streams_is_rejected() -> None:
    # The client id closes its own record, and opens one of another client.
    start, address = "2026-11-19T12:00:00Z", "203.0.113.9"
    own = Log(streams=())
    forged = b"x" + own._replace(written=start).tail() + own.end() + f"START CLIENT v [{address}] (Http|".encode()
    events = read(own._replace(id=forged).text() + OTHER.text() * 3)
    assert NO_STREAMS in [event.reason for event in events if isinstance(event, Rejection)]
    assert address not in {event.address for event in events if isinstance(event, TransferRecord)}


CLIENTS = [Log(host=f"host{number}.example.org", address=f"192.0.2.{number}") for number in range(1, 4)]
stream = st.builds(
    Stream,
    st.sampled_from(
        ["FR_SURF_00_HHZ/MSEED", "FDSN:Z3_A190A__B_H_Z/MSEED3", "soh-log_no.slash", "START/1", "a\x1cb"]
    ),
    st.integers(1, 10**6),
    st.integers(1, 99),
)
honest_id = st.sampled_from([b"slinktool/4.2", b"", b"x (y|z) @ [a]", b"y" * 255, b"two\nlines"])
time = st.sampled_from(["2026-11-22T02:04:19Z", "2026-11-22T02:05:00Z", "2018-03-30 07:00:05"])
record = st.builds(
    lambda client, id, streams, written, direction: client._replace(  # noqa: A006 - the field's name
        id=id, streams=tuple(streams), written=written, direction=direction
    ),
    st.sampled_from(CLIENTS),
    honest_id,
    st.lists(stream, max_size=4),
    time,
    st.sampled_from(["TX", "TX", "RX"]),
)


@st.composite
def forged_records(draw: st.DrawFn, *, closes_itself: bool = True) -> Log:
    """Return a record with a client id made of pieces of records."""
    own = draw(record)
    others = [client for client in CLIENTS if client.address != own.address]
    pieces = [b"x", b"\n", b"FR_SURF_00_HHZ/MSEED 5 5\n", FORGED_TAIL, FORGED_TAIL[:-1], own.tail(), own.lines()]
    for log in [own, *others] if closes_itself else others:
        pieces += [log.head(), log.end(), log.end(5), log.end(0), log.end(own.total)]
    pieces += [own.head(), others[0].text()]
    return own._replace(id=b"".join(draw(st.lists(st.sampled_from(pieces), max_size=7)))[:255])


damage = st.sampled_from(
    [
        *(b"", b"\0\0\0", b"\n", b"garbage\n", b"cut START"),
        *(CLIENTS[0].lines(), CLIENTS[0].end(), CLIENTS[1].text()[:-40]),
    ]
)
logs = st.lists(st.one_of(record.map(Log.text), damage), max_size=5).map(b"".join)


@given(st.lists(st.one_of(forged_records(), record), max_size=4))
def test_forged_ids_change_nothing_of_others(logs: list[Log]) -> None:
    records = read_records(b"".join(log.text() for log in logs))
    forgers = {log.address for log in logs if log.head() in log.id or log.end()[:-3] in log.id}
    found = [describe(one) for one in records if one.address not in forgers]
    assert found == [expect(log) for log in logs if log.address not in forgers]


def count(events: list[Event]) -> Counter[bytes]:
    return Counter(event.content for event in events if isinstance(event, TransferRecord))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(forged_records(closes_itself=False).map(Log.text), record.map(Log.text), damage), max_size=4)
)
def test_records_of_a_prefix_are_in_the_log(pieces: list[bytes]) -> None:
    log = b"\0".join([b"", *pieces])
    whole = count(read(CLIENTS[0].text() + log))
    for size in chain(range(0, len(log), 7), range(max(0, len(log) - 150), len(log))):
        assert count(read(CLIENTS[0].text() + log[:size])) <= whole


@given(logs, st.lists(st.integers(1, 200), min_size=1, max_size=50))
def test_chunks_change_nothing(log: bytes, sizes: list[int]) -> None:
    log = CLIENTS[0].text() + log
    chunks, position = [], 0
    for size in [*sizes, len(log)]:
        chunks.append(log[position : position + size])
        position += size
    assert count(list(read_events(chunks, "txlog"))) == count(read(log))
    assert sum(event.length for event in read_events(chunks, "txlog")) == len(log)


@given(st.binary(max_size=300), logs)
def test_each_byte_is_in_a_piece(garbage: bytes, log: bytes) -> None:
    log = CLIENTS[0].text() + garbage + log
    events = read(log)
    assert sum(event.length for event in events) == len(log)
    assert [event.line for event in events] == sorted(event.line for event in events)


@given(st.lists(st.one_of(record, forged_records()), min_size=1, max_size=3))
def test_quick_way_reads_the_same(logs: list[Log]) -> None:
    log = b"".join(one.text() for one in logs) + CLIENTS[0].text() * 2
    position, line = 0, 1
    while log.startswith(START, position):
        found = read_record(log, position, line, is_all=True)
        assert found is not None
        simple = next(read_simple(log.decode("latin-1"), position, line), None)
        assert simple in (None, found.record)
        position, line = found.end, line + log.count(b"\n", position, found.end)
