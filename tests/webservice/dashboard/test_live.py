"""The page of live connections, without a browser."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.dashboard.sparkline import draw_sparkline
from support.live import fill_live
from support.sensors import add_doors
from support.service import PREFIX
from support.stores import ON_ONE_STORE, Store


@pytest.fixture
def service_settings() -> dict[str, Any]:
    return {"min_clients": 3}


def read_rows(text: str) -> dict[str, tuple[str, str, str]]:
    """Return the count, the highest count and the state of each node."""
    pattern = r'<tr data-space="(.*?)">.*?data-state>(.*?)</span>.*?data-count>(.*?)</td>.*?data-highest>(.*?)</td>'
    return {name: (count, highest, state) for name, state, count, highest in re.findall(pattern, text, re.DOTALL)}


def test_nodes_have_counts_and_states(client: FlaskClient, store: Store) -> None:
    fill_live(store, {"GFZ": 5, "ODC": 4, "LMU": 2, "NOA": 0}, stale="ODC")
    add_doors(store, "GFZ", {"House": None}, {"front": [("House", 1)]})
    response = client.get(f"{PREFIX}/connections/live")
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    assert response.headers["Cache-Control"] == "public, max-age=2"
    rows = read_rows(response.text)
    assert {name: count for name, (count, _, _) in rows.items()} == {
        "GFZ": "5",
        "LMU": "fewer than 3",
        "NOA": "0",
        "ODC": "4",
    }
    assert [name for name, (_, _, state) in rows.items() if state] == ["ODC"]
    assert rows["ODC"][2].startswith("Stale: nothing received since 20")
    assert all(int(rows[name][1]) >= int(rows[name][0]) for name in ("GFZ", "ODC", "NOA"))
    assert re.search(
        r"data-count>11</span>.*Incomplete: nothing received from at least one server", response.text, re.DOTALL
    )
    assert response.text.count("<svg") == len(rows) + 1


@ON_ONE_STORE
def test_unconfirmed_sessions_are_stated(client: FlaskClient, store: Store) -> None:
    fill_live(store, {"GFZ": 5, "LMU": 2, "ODC": 4}, unconfirmed="GFZ")
    text = client.get(f"{PREFIX}/connections/live").text
    # The first one is that of all nodes.
    assert re.findall(r"data-unconfirmed>(.*?)<", text) == ["5 unconfirmed", "5 unconfirmed", "", ""]
    assert "Unconfirmed: clients that may have left" in text


@ON_ONE_STORE
@pytest.mark.parametrize("node", ["LMU", None])
def test_no_sessions_are_unconfirmed(client: FlaskClient, store: Store, node: str | None) -> None:
    fill_live(store, {"GFZ": 5, "LMU": 2}, unconfirmed=node or "")
    # As many as 2 would show the clients of this node.
    assert "Unconfirmed" not in client.get(f"{PREFIX}/connections/live").text


@ON_ONE_STORE
def test_page_may_be_empty(client: FlaskClient, store: Store) -> None:
    assert store
    assert "No ringserver has reported" in client.get(f"{PREFIX}/connections/live").text
    # At the head and at the foot.
    assert client.get(f"{PREFIX}/").text.count('<a href="connections/live">') == 2


@ON_ONE_STORE
def test_error_is_a_page(client: FlaskClient) -> None:
    for parameters, status in [("?node=GFZ", 400), ("", 403)]:
        headers = {} if parameters else {"Authorization": "Bearer wrong"}
        response = client.get(f"{PREFIX}/connections/live{parameters}", headers=headers)
        assert (response.status_code, response.content_type) == (status, "text/html; charset=utf-8")
        assert 'role="alert"' in response.text
        assert 'href="../assets/' in response.text


@pytest.mark.parametrize(
    ("counts", "text", "lines"),
    [
        ([1, 4, 2], "from 1 to 4", 1),
        ([0] * 60, "from 0 to 0", 1),
        ([5, None, 7, 8], "from 5 to 8, with gaps", 2),
        ([None, None], "not shown", 0),
        ([], "not shown", 0),
    ],
)
def test_sparkline_has_gaps(counts: list[int | None], text: str, lines: int) -> None:
    drawn = draw_sparkline(counts)
    assert f'aria-label="{text}"' in drawn
    assert drawn.count("<polyline") == lines
