"""Records of several logs, each counted once."""

import datetime
import random
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics.ringserver.collection import Collection, Settings, SourceDay, pack_digests, unpack_digests
from eida_statistics.ringserver.events import RX, TX
from eida_statistics.ringserver.identity import ClientKey
from eida_statistics.ringserver.payload import DayPayload, merge_payloads
from eida_statistics.ringserver.places import Places
from eida_statistics.ringserver.windows import Grid, Window
from support.transfer_logs import REAL_TEXT, Log, Stream, read_files

NOW = int(datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC).timestamp())
DAY = datetime.date(2026, 11, 22)
OTHER = Log(id=b"x", address="192.0.2.99", streams=(Stream(bytes=512), Stream("soh-log_no.slash", 7, 1)))


def make_settings(**changes: object) -> Settings:
    return Settings(ClientKey(b"salt"), Places(None), Grid(), lambda code, _: code, NOW)._replace(**changes)


def collect(logs: Sequence[bytes], **changes: object) -> Collection:
    collection = Collection(make_settings(**changes))
    for number, log in enumerate(logs):
        collection.read(f"log {number}", "", None, [log])
    return collection


def describe(collection: Collection) -> dict[SourceDay, str]:
    return {key: collection.get_records(key).make_payload().content() for key in collection.list_days()}


def sum_bytes(payload: DayPayload, direction: str) -> tuple[int, int]:
    rows = [row for row in payload.days if row.direction == direction]
    return sum(row.bytes for row in rows), sum(row.packets for row in rows)


@pytest.mark.skipif(not REAL_TEXT.exists(), reason="the real logs are not here")
def test_real_logs_make_the_payload_of_a_day() -> None:
    files = read_files(REAL_TEXT)
    collection = collect([*files.values(), *files.values()])
    (key,) = collection.list_days()
    payload = collection.get_records(key).make_payload()
    assert (key, sum_bytes(payload, TX), sum_bytes(payload, RX)) == (
        SourceDay("", DAY),
        (4179995, 8726),
        (1609856, 3979),
    )
    found = collection.found
    assert (found.records, found.streams, found.repeated) == (97, 574, 97)


def test_equal_records_of_a_file_count_each() -> None:
    assert collect([Log().text() * 3]).found.records == 3


def test_larger_number_of_equal_records_counts() -> None:
    collection = collect([Log().text() * 2, Log().text() * 3, Log().text()])
    assert (collection.found.records, collection.found.repeated) == (3, 3)


def test_file_that_has_grown_counts_once() -> None:
    log = Log().text() + OTHER.text() + Log(id=b"z").text()
    sizes = [len(Log().text()) + 30, len(log) - 1, len(log), len(log)]
    collection = collect([log[:size] for size in sizes])
    assert (collection.found.records, collection.found.unfinished) == (3, 2)
    assert describe(collection) == describe(collect([log]))


def test_known_records_do_not_count() -> None:
    first = collect([Log().text() * 2])
    (key,) = first.list_days()
    known = first.get_records(key).get_digests()
    second = Collection(make_settings(), lambda _: known)
    second.read("log", "", None, [Log().text() * 3 + OTHER.text()])
    assert (second.found.records, second.found.repeated) == (2, 2)
    parts = [one.get_records(key).make_payload() for one in (first, second)]
    whole = collect([Log().text() * 3 + OTHER.text()]).get_records(key).make_payload()
    assert merge_payloads(parts).content() == whole.content()


def test_direction_is_ignored_that_does_not_count() -> None:
    found = collect([Log(direction=RX).text() + Log().text()], directions=frozenset({TX})).found
    assert (found.records, found.ignored) == (1, 1)


def test_record_of_tomorrow_is_rejected() -> None:
    found = collect([Log().text() + Log(written="2026-11-28T00:00:00Z").text()]).found
    assert (found.records, [one.reason for one in found.rejections]) == (1, ["the time is in the future"])
    assert [(one.log, one.line) for one in found.rejections] == [("log 0", 4)]


def test_cut_and_differing_records_are_counted() -> None:
    differing = OTHER._replace(id=b"x" * 200)
    cut = Log(id=b"y" * 200, streams=(Stream(), Stream()))
    text = differing.head() + differing.id + differing.tail() + differing.lines() + differing.end(1)
    text += cut.text().removesuffix(b"\n" + cut.end()) + Log(id=b"a\nb").text()
    found = collect([text + Log().text()]).found
    assert (found.records, found.cut, found.differing, found.forged) == (4, 1, 1, 1)


def test_window_of_a_day_decides_about_its_last_record() -> None:
    night = Log(connected="2026-11-21T09:00:00Z", written="2026-11-22T00:00:05Z").text()
    paris = Grid(ZoneInfo("Europe/Paris"))
    assert [key.day.day for key in collect([night]).list_days()] == [21]
    assert [key.day.day for key in collect([night], grid=paris).list_days()] == [21]
    collection = Collection(make_settings())
    collection.read("log", "rs-b", Window(NOW - 5 * 86400, NOW - 4 * 86400), [night])
    assert collection.list_days() == [SourceDay("rs-b", datetime.date(2026, 11, 21))]


RECORDS = [
    Log(
        id=b"x" * (number % 5),
        address=f"192.0.2.{number % 4}",
        written=f"2026-11-{1 + number % 9:02d}T0{number % 9}:00:{number:02d}Z",
        connected="2026-10-30T00:00:00Z",
        direction="TX" if number % 3 else "RX",
        streams=(Stream(bytes=number * 100 + 1), Stream("soh", number, 1)),
    )
    for number in range(40)
]


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.booleans())
def test_split_order_and_repetition_change_nothing(shuffled: random.Random, files: int, repeated: bool) -> None:
    records = shuffled.sample(RECORDS, len(RECORDS))
    logs = [b"".join(log.text() for log in records[number::files]) for number in range(files)]
    whole = describe(collect([b"".join(log.text() for log in RECORDS)]))
    assert len(whole) == 9
    assert describe(collect([*logs, *shuffled.sample(logs, len(logs) if repeated else 0)])) == whole


def test_digests_are_packed_with_their_numbers() -> None:
    digests = {bytes([number]) * 16: number for number in range(1, 9)}
    assert unpack_digests(pack_digests(digests)) == digests
