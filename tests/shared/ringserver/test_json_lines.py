"""Transfer logs in JSON Lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eida_statistics.ringserver.events import Event, RecordState, Rejection, TransferRecord, Unfinished
from eida_statistics.ringserver.fields import parse_time
from eida_statistics.ringserver.reader import read_events
from support.transfer_logs import CONNECTED, REAL_JSON, Log, Stream, read_files

STREAMS = (Stream(), Stream("XX_ABC_00_HHZ/MSEED", 512, 1), Stream('odd "id" \\ {"log_time":', 5, 1))


def read(log: bytes) -> list[Event]:
    return list(read_events([log], "txlog"))


@pytest.mark.skipif(not REAL_JSON.exists(), reason="the real logs are not here")
def test_real_logs_have_the_known_totals() -> None:
    events = [event for log in read_files(REAL_JSON).values() for event in read(log)]
    records = [event for event in events if isinstance(event, TransferRecord)]
    assert len(records) == len(events) == 54
    found = {
        direction: (sum(record.total for record in own), sum(sum(record.packets) for record in own))
        for direction in ("TX", "RX")
        if (own := [record for record in records if record.direction == direction])
    }
    assert found == {"TX": (2746674, 5720), "RX": (760589, 1869)}
    assert all(record.starts_at is not None for record in records)


def test_record_is_read() -> None:
    log = Log(streams=STREAMS, id="na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve\n".encode())
    (record,) = read(log.json())
    assert isinstance(record, TransferRecord)
    assert [*zip(record.ids, record.sizes, record.packets, strict=True)] == [tuple(one) for one in STREAMS]
    assert (record.address, record.direction, record.protocol) == (log.address, "TX", "SeedLink")
    assert record.starts_at == record.connected_at == parse_time(CONNECTED)
    assert (record.state, record.length) == (RecordState.COMPLETE, len(log.json()))


def test_optional_fields_may_be_missing() -> None:
    (record,) = read(
        Log().json(transfer_protocol={"is_tls": True}, client={"ip": "192.0.2.1"}, auth={"method": "jwt"})
    )
    assert isinstance(record, TransferRecord)
    assert (record.protocol, record.client_id) == ("Unknown", "")


def test_cut_record_is_followed_by_the_next_one() -> None:
    log = Log(streams=STREAMS)
    torn = log.json()[: log.json().index(b'{"stream_id":"odd') + 20]
    first, second = read(torn + log.json())
    assert isinstance(first, TransferRecord)
    assert (first.state, first.ids, first.length) == (RecordState.CUT, [one.id for one in STREAMS[:2]], len(torn))
    assert isinstance(second, TransferRecord)
    assert second.state is RecordState.COMPLETE


def test_record_cut_before_its_streams_is_rejected() -> None:
    torn = Log().json()[:60]
    first, second = read(torn + Log().json())
    assert first == Rejection(1, 60, "not JSON")
    assert isinstance(second, TransferRecord)


def test_record_without_line_break_is_unfinished() -> None:
    log = Log().json()
    assert read(log + log[:-1])[1:] == [Unfinished(2, len(log) - 1)]


@pytest.mark.parametrize("number", ["512", -1, 2**53, 1.5, None, True])
@pytest.mark.parametrize("field", ["bytes", "packets"])
def test_bad_number_is_rejected_by_name(field: str, number: object) -> None:
    streams = [{"stream_id": "A", "bytes": 1, "packets": 1}, {"stream_id": "B", "bytes": 1, "packets": 1}]
    streams[1][field] = number  # type: ignore[assignment]
    (event,) = read(Log().json(streams=streams))
    assert isinstance(event, Rejection)
    assert event.reason == f"streams[1].{field}: not a whole number from 0 to 2^53-1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"log_time": "yesterday"}, "no such time"),
        ({"log_time": 5}, "log_time: not a time"),
        ({"client": {}}, "client.ip: missing"),
        ({"transfer_direction": "UP"}, "transfer_direction: not TX or RX"),
        ({"transfer_bytes": "many"}, "transfer_bytes: not a whole number from 0 to 2^53-1"),
    ],
)
def test_bad_field_is_rejected_by_name(changes: dict[str, object], reason: str) -> None:
    (event,) = read(Log().json(**changes))
    assert isinstance(event, Rejection)
    assert event.reason == reason


def test_differing_total_is_reported() -> None:
    (record,) = read(Log().json(transfer_bytes=7))
    assert isinstance(record, TransferRecord)
    assert record.state is RecordState.DIFFERING


def test_formats_may_be_in_one_file() -> None:
    log = Log()
    records = read(log.json() + log.text() + log.json())
    assert all(isinstance(record, TransferRecord) for record in records)
    assert len(records) == 3


@given(st.integers(0, 900), st.integers(0, 900))
def test_records_of_a_prefix_are_in_the_log(cut: int, size: int) -> None:
    log = Log(streams=STREAMS).json()[:cut] + Log(streams=STREAMS).json() * 2
    whole = [event.content for event in read(Log().json() + log) if isinstance(event, TransferRecord)]
    for event in read(Log().json() + log[:size]):
        assert not isinstance(event, TransferRecord) or event.content in whole
