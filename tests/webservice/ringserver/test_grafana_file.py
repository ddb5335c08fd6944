"""The file of the dashboard for Grafana: valid for Grafana's own types, and complete."""

import datetime
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from support import grafana
from support.paths import ROOT

TYPES = [*["timeseries"] * 6, "table", "table", "geomap"]
# Panels of networks. The others are of all networks.
OF_NETWORKS = {1, 3, 5, 7}


def read_file() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(grafana.DASHBOARD.read_bytes())
    return content


def test_no_key_is_lost_by_grafanas_types() -> None:
    register_default_plugins()
    written = read_file()
    decoded = Dashboard.from_json(written)
    for panel in decoded.panels or []:
        assert isinstance(panel, Panel)
        assert type(panel.options).__module__ == f"grafana_foundation_sdk.models.{panel.type_val}"
    assert list_losses(written, json.loads(JSONEncoder().encode(decoded))) == []


def list_losses(before: Any, after: Any, path: str = "") -> list[str]:
    """Return the paths of all values that are not the same in `after`, which may have more keys."""
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [(value, after.get(key), f"{path}.{key}") for key, value in before.items()]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        places = (f"{path}.{number}" for number in itertools.count())
        pairs = list(zip(before, after, places, strict=False))
    else:
        return [] if before == after else [path]
    return [lost for one, other, place in pairs for lost in list_losses(one, other, place)]


def test_loss_of_a_key_is_found() -> None:
    register_default_plugins()
    written = read_file()
    written["panels"][0]["fieldConfig"]["defaults"]["custom"]["colour"] = "red"
    written["panels"][8]["options"]["layers"][0]["location"]["hash"] = "geohash"
    lost = list_losses(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written))))
    assert lost == [".panels.0.fieldConfig.defaults.custom.colour", ".panels.8.options.layers.0.location.hash"]


def test_panels_are_complete_and_do_not_overlap() -> None:
    dashboard = grafana.load()
    assert [panel.type for panel in dashboard.panels] == TYPES
    assert [panel.id for panel in dashboard.panels] == list(range(1, 10))
    source = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
    taken: Counter[tuple[int, int]] = Counter()
    for panel, written in zip(dashboard.panels, read_file()["panels"], strict=True):
        assert panel.title
        assert panel.description.endswith(".")
        assert panel.query.datasource == source
        assert panel.query.format == ("time_series" if panel.type == "timeseries" else "table")
        assert ("${network:" in panel.query.raw_sql) == (panel.id in OF_NETWORKS)
        place = written["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update((x, y) for x in range(24) for y in range(60) if is_inside(x, y, place))
    assert set(taken.values()) == {1}
    # There are no gaps.
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


def is_inside(x: int, y: int, place: Mapping[str, int]) -> bool:
    return place["x"] <= x < place["x"] + place["w"] and place["y"] <= y < place["y"] + place["h"]


def test_provisioned_source_is_that_of_the_panels() -> None:
    folder = ROOT / "webservice" / "grafana"
    (source,) = yaml.safe_load((folder / "datasource.yaml").read_text())["datasources"]
    (variable,) = [one for one in grafana.load().templating.list if one.type == "datasource"]
    assert variable.current["value"] == source["uid"]
    assert variable.query == source["type"]
    assert yaml.safe_load((folder / "dashboards.yaml").read_text())["providers"][0]["type"] == "file"


def test_macros_are_those_of_grafana() -> None:
    span = grafana.Span(
        datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC),
        datetime.datetime(2026, 11, 23, 14, 34, 56, 789000, tzinfo=datetime.UTC),
    )
    start, stop = "'2026-11-01T00:00:00Z'", "'2026-11-23T14:34:56.789Z'"
    values: grafana.Values = {"one": "it's", "many": ["a", "b'c"], "none": []}
    for sql, expected in {
        "$__time(hour)": 'hour AS "time"',
        "$__timeFilter(a.b)": f"a.b BETWEEN {start} AND {stop}",
        "$__timeFrom()::date, $__timeTo()": f"{start}::date, {stop}",
        "IN (${many:sqlstring}) = ${one:sqlstring}": "IN ('a','b''c') = 'it''s'",
        "ARRAY[${none:sqlstring}]::text[]": "ARRAY[]::text[]",
    }.items():
        assert grafana.make_sql(sql, values, span) == expected
    for refused in ("$__timeGroup(hour, 1h)", "$one", "${one}", "[[one]]", "${one:csv}"):
        with pytest.raises(ValueError):
            grafana.make_sql(refused, values, span)


def test_unsorted_series_are_refused() -> None:
    columns = ["time", "metric", "bytes"]
    early, late = datetime.date(2026, 11, 1), datetime.date(2026, 11, 2)
    assert len(grafana.read_series(columns, [(early, "A", 1), (late, "A", 2), (late, "B", 3)])) == 3
    for rows in ([(late, "A", 1), (early, "A", 2)], [(early, "A", 1), (early, "A", 2)]):
        with pytest.raises(ValueError, match="order of time"):
            grafana.read_series(columns, rows)
    with pytest.raises(ValueError, match="no series"):
        grafana.read_series(["time", "bytes"], [])
