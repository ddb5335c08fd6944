"""The access log has the queries of connections, but neither sessions nor addresses."""

import json
from contextlib import closing
from pathlib import Path

import requests

from eida_statistics.connections import encode_records
from support.node_client import make_node
from support.sensors import BEGIN, connect, disconnect, make_digits
from support.service import Service
from support.stores import open_store

ADDRESS = "a" * 16
QUERIES = [
    *("connections/now?space=GFZ", "connections/count?space=GFZ", "connections/series?space=GFZ&start=2026-11-22"),
    *("connections/log?start=2026-11-22", "connections/sessions?start=2026-11-22", "count?space=GFZ"),
]


def test_log_has_queries_and_no_sessions(sqlite_uri: str, tmp_path: Path) -> None:
    with closing(open_store(sqlite_uri)) as store:
        headers = {"Authorization": f"Bearer {make_node(store, 'GFZ')[1]}"}
    records = [connect(1, BEGIN, address=ADDRESS), disconnect(1, BEGIN, BEGIN, address=ADDRESS)]
    with Service(sqlite_uri, tmp_path, workers=1) as service:
        sent = requests.post(
            f"{service.url}/connections", data=encode_records(list(records)), headers=headers, timeout=60
        )
        assert sent.status_code == 200, sent.text
        for query in QUERIES:
            answer = requests.get(f"{service.url}/{query}", headers=headers, timeout=60)
            assert answer.status_code == 200, query
            assert ADDRESS not in answer.text
        bad = requests.post(f"{service.url}/connections", data=make_digits(1), headers=headers, timeout=60)
        assert bad.status_code == 400
    assert ADDRESS not in service.log
    assert make_digits(1) not in service.log
    logged = [json.loads(line) for line in service.log.splitlines() if line.startswith("{")]
    found = [f"{one['path']}?{one['query']}" for one in logged if one["method"] == "GET" and one["query"]]
    # A request is logged after its answer, so the next one may be logged before it.
    assert sorted(one.partition("/1/")[2] for one in found) == sorted(QUERIES)
