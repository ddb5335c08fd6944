"""The payload of a day: sums over its records."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.ringserver.payload import LISTS, DayPayload, merge_payloads
from eida_statistics.ringserver.payload_wire import decode, encode, read
from eida_statistics.ringserver.places import NOWHERE, Place
from support.transfers import DAY, Transfer, make_payload, model_lists

GRENOBLE = Place("FR", "Grenoble", "u0h0")
IDS = [
    "FR_SURF_00_HHZ/MSEED",
    "FDSN:FR_SURF_00_H_H_Z/MSEED",  # the same stream
    "FDSN:FR_OGAG__B_H_Z/MSEED3",
    "FDSN:XJ_MB01__E_H_Z/MSEED",
    "soh-log_no.slash",
    "FDSN:FR_VTRI_00_V_E_C/JSON",
]
PLACES = [NOWHERE, GRENOBLE, Place("FR", "Nice", "spv2"), Place("DE", "", "u33d")]

amounts = st.integers(0, 50) | st.integers(0, 2**40)
streams = st.lists(
    st.tuples(st.sampled_from(IDS), amounts, st.integers(0, 50)), max_size=6, unique_by=lambda s: s[0]
)


@st.composite
def make_transfer(draw: st.DrawFn) -> Transfer:
    # The middle is within the day.
    middle, half = draw(st.integers(0, 86399)), draw(st.sampled_from([0, 0, 1, 100, 1800, 43200, 86400]))
    return Transfer(
        draw(st.sampled_from(["TX", "RX"])),
        draw(streams),
        middle - half,
        middle + half,
        draw(st.integers(-(2**31), 2**31 - 1) | st.integers(-1, 1)),
        draw(st.sampled_from(PLACES)),
    )


transfers = st.lists(make_transfer(), max_size=8)


def list_rows(payload: DayPayload) -> dict[str, list[Any]]:
    return {name: [msgspec.structs.astuple(row) for row in payload.lists[name]] for name in LISTS}


@settings(deadline=None)
@given(transfers)
def test_rows_are_those_of_the_model(added: list[Transfer]) -> None:
    assert list_rows(make_payload(added)) == model_lists(added)


@settings(deadline=None)
@given(transfers)
def test_written_payload_is_read(added: list[Transfer]) -> None:
    # Reading checks that streams and hours add up to days, and days to places.
    payload = make_payload(added, "rs-b")
    for again in (decode(payload.to_json(), today=DAY), read([encode(payload)])):
        assert again == payload
        assert again.hash() == payload.hash()


@settings(deadline=None)
@given(transfers, st.randoms(use_true_random=False), st.integers(1, 3))
def test_order_and_split_change_nothing(added: list[Transfer], order: Any, parts: int) -> None:
    payload = make_payload(added)
    order.shuffle(added)
    assert make_payload(added) == payload
    assert merge_payloads([make_payload(added[part::parts]) for part in range(parts)]) == payload


def test_many_records_are_those_of_the_model() -> None:
    generator = random.Random(17)
    ids = [f"FDSN:N{number % 5}_S{number:03d}_00_H_H_Z/MSEED" for number in range(400)]
    added = []
    for _ in range(400):
        start = generator.randrange(86400)
        named = [(one, generator.randrange(10**6), generator.randrange(100)) for one in generator.sample(ids, 50)]
        end = generator.randrange(start, 86401)
        client = generator.randrange(-300, 300)
        added.append(Transfer("TX", named, start, end, client, generator.choice(PLACES)))
    payload = make_payload(added)
    assert list_rows(payload) == model_lists(added)
    assert decode(payload.to_json(), today=DAY) == payload


def test_empty_record_adds_no_client() -> None:
    payload = make_payload([Transfer("TX", [(IDS[0], 0, 0)], 0, 60, 7, GRENOBLE)])
    (stat,), (day,) = payload.stats, payload.days
    assert (stat.records, stat.bytes, day.records, day.bytes) == (1, 0, 1, 0)
    assert stat.clients == day.clients == hll.to_hex(hll.EMPTY)
    assert (payload.hours, payload.places) == ([], [])
    assert decode(payload.to_json(), today=DAY) == payload


def test_day_of_no_records_has_no_rows() -> None:
    payload = make_payload([])
    assert not any(payload.lists.values())
    assert decode(payload.to_json(), today=DAY) == payload


def test_other_sources_are_not_merged() -> None:
    with pytest.raises(ValueError, match="one source and day"):
        merge_payloads([make_payload([], "a"), make_payload([], "b")])


def test_largest_number_is_spread_exactly() -> None:
    added = [Transfer("RX", [(IDS[0], 2**53 - 1, 2**53 - 2)], 61, 86400 + 57, 7, GRENOBLE)]
    assert list_rows(make_payload(added)) == model_lists(added)
