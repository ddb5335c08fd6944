"""Thousands of payloads that are almost right: never a fault, never half stored, never slow."""

import copy
import datetime
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from support.dates import DAY
from support.payloads import row, sketch, wire
from support.service import PREFIX
from support.stores import Store
from support.tables import count, read_sums

pytestmark = pytest.mark.alone

EXAMPLES = 1_500
SECONDS = 1
SUBMIT = f"{PREFIX}/submit"

SOUND = wire(
    row(), row(network="", station="", location="--", channel="", country=None),
    row(station="MTE", clients=sketch(range(200))), row(month="2026-09-01", network="Z32015", country="A1"),
    days_coverage=["2026-09-30", "2026-10-01"],
)  # fmt: skip
NASTY = [
    None, True, False, 0, -1, 1.5, 1e308, 2**53, 2**63, 2**64, 10**400, [], {}, [[]], {"a": {}}, [None],
    "", " ", "NaN", "\x00", "'; DROP TABLE nodes; --", "%s", "A" * 10_000,
    "\N{RIGHT-TO-LEFT OVERRIDE}FR", "\ud800", "\N{PILE OF POO}",
    "2026-13", "0000-00-00", "9999-12-31", "2026-10-01T00:00",
    "\\x128b7f", "\\x148b7f" + "ff" * 1280, "\\x118b7f00",
]  # fmt: skip


def list_paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to all values in a document."""
    found = [here] if here else []
    keyed = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in keyed:
        found += list_paths(inner, (*here, key))
    return found


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Change a valid payload in some places, then some of its bytes, and pack it or not."""
    payload = copy.deepcopy(SOUND)
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from(list_paths(payload)))
        inner = payload
        for key in way:
            inner = inner[key]
        change = draw(st.sampled_from(["replace", "remove", "repeat"]))
        if change == "remove":
            del inner[last]
        elif change == "repeat" and isinstance(inner, list):
            inner.append(copy.deepcopy(inner[last]))
        else:
            inner[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        if not list_paths(payload):
            break
    body = bytearray(json.dumps(payload).encode())
    packed = draw(st.booleans())
    if packed:
        body = bytearray(gzip.compress(body, mtime=0))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(body) - 1))
        body[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(body), packed


def test_mutated_payloads_are_stored_or_refused(
    service_uri: str, store: Store, record_figure: Callable[[str], None]
) -> None:
    now = datetime.datetime.now(tz=datetime.UTC)
    store.registry.add_node("GFZ", "operator@gfz.example")
    token = store.registry.add_token("GFZ", now - DAY, now + DAY)[1]
    client = create_app(Config(service_uri, max_failures_per_minute=0)).test_client()
    answers: dict[int, int] = {}
    slowest = 0.0

    @given(bodies())
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def send(made: tuple[bytes, bool]) -> None:
        nonlocal slowest
        before = read_stored(store)
        begun = time.perf_counter()
        status = post(client, token, *made)
        slowest = max(slowest, time.perf_counter() - begun)
        answers[status] = answers.get(status, 0) + 1
        assert status < 500
        assert (read_stored(store) != before) == (status == 201)

    send()
    # All kinds of answers occurred.
    assert {201, 400, 409, 422} <= answers.keys()
    assert slowest < SECONDS
    assert [difference for *_, found in store.verification.verify() for difference in found] == []
    summary = f"{dict(sorted(answers.items()))}, {slowest * 1000:.0f} ms at most"
    record_figure(f"{sum(answers.values()):,} mutated payloads: {summary}")


def post(client: FlaskClient, token: str, body: bytes, packed: bool) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    return client.post(SUBMIT, data=body, headers=headers).status_code


def read_stored(store: Store) -> tuple[int, Any]:
    return count(store, "payloads"), read_sums(store, "dataselect_stats_by_country", ("date",))
