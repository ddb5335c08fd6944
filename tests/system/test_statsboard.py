"""The requests of the federation's dashboard, sent by a page in Chromium from another origin.

The dashboard is statsboard. The page sends the same requests and reads the same fields.
"""

import base64
import datetime
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.browser import render_page, serve_page
from support.payloads import payload, row, sketch
from support.service import Service, register_nodes
from support.signer import Signer
from support.stores import ON_ONE_STORE, Store

GROUP = "/epos/operators"
# It writes months like this.
PERIOD = "start=2026-5&end=2026-10"
PUBLIC = f"dataselect/public?{PERIOD}"
RESTRICTED = f"dataselect/restricted?{PERIOD}"
NODE = "&node=GFZ&level=node"
ALL_NETWORKS = "&node=GFZ&level=network"
NETWORK = "&node=GFZ&network=GE&level=network"
STATION = "&node=GFZ&network=GE&station=EIL&level=station"
HLL = "&hllvalues=true"

# By source file: the path, whether with a token, and the fields that it reads of each result.
SUMS = ["clients", "bytes", "nb_reqs", "nb_successful_reqs"]
REQUESTS: list[tuple[str, bool, list[str]]] = [
    # plotsEIDA.js
    (f"{PUBLIC}&format=json", False, SUMS),
    (f"{PUBLIC}&details=year&format=json", False, ["date", *SUMS]),
    (f"{PUBLIC}&details=month&format=json", False, ["date", *SUMS]),
    (f"{PUBLIC}&details=country&format=json", False, ["country", *SUMS]),
    # plotsNode.js
    (f"{PUBLIC}{NODE}{HLL}&format=json", False, ["node", "hll_clients", *SUMS]),
    (f"{PUBLIC}{NODE}&details=year{HLL}&format=json", False, ["date", "node", "hll_clients", *SUMS]),
    (f"{PUBLIC}{NODE}&details=month{HLL}&format=json", False, ["date", "node", "hll_clients", *SUMS]),
    (f"{PUBLIC}{NODE}&details=country{HLL}&format=json", False, ["country", "node", "hll_clients", *SUMS]),
    # plotsNetwork.js, for anybody and with a token
    *(
        (f"{path}{details}{HLL}&format=json", token, ["network", "node", "hll_clients", *more, *SUMS])
        for path, token in ((PUBLIC + ALL_NETWORKS, False), (RESTRICTED + NETWORK, True))
        for details, more in (("", []), ("&details=month", ["date"]), ("&details=country", ["country"]))
    ),
    # plotsStation.js
    *(
        (
            f"{RESTRICTED}{STATION}{details}{HLL}&format=json",
            True,
            ["station", "network", "hll_clients", *more, *SUMS],
        )
        for details, more in (("", []), ("&details=year", ["date"]), ("&details=country", ["country"]))
    ),
]

PAGE = """<!doctype html>
<title>running</title>
<p id="error"></p>
<pre id="found"></pre>
<script>
const {base, token, requests, wrong} = JSON.parse(atob("SETTINGS"));

// It takes no other sketch; null makes it fail.
function readSketch(text) {
  if (!text.startsWith("\\\\x") || !/^\\\\x1[1-4]8b7f/.test(text)) throw Error("no sketch: " + text);
  return text.length;
}

async function ask([path, withToken, keys]) {
  const body = Uint8Array.from(atob(token), sign => sign.charCodeAt(0));
  const options = withToken
    ? {method: "POST", headers: {"Content-Type": "application/octet-stream"}, body}
    : {};
  const response = await fetch(base + "/" + path, options);
  if (!response.ok) throw Error(path + ": " + response.status + " " + await response.text());
  const results = (await response.json()).results;
  for (const result of results) {
    for (const key of keys) if (result[key] === undefined || result[key] === null) throw Error(path + ": " + key);
    if (keys.includes("hll_clients")) readSketch(result.hll_clients);
  }
  return results.map(result => keys.map(key => result[key]));
}

async function run() {
  const found = {};
  found.nodes = (await (await fetch(base + "/nodes")).json()).nodes.map(node => node.name);
  const networks = (await (await fetch(base + "/networks")).json()).networks;
  found.networks = networks.map(network => [network.name, network.node]);
  found.results = [];
  for (const request of requests) found.results.push(await ask(request));
  found.errors = [];
  for (const path of wrong) {
    const response = await fetch(base + "/" + path);
    const text = await response.text();
    const match = text.match(/<p>(.*?)<\\/p>/);
    if (text.includes("Internal") || text.includes("Time-out")) found.errors.push("temporarily unavailable");
    else document.getElementById("error").innerHTML = match[0];
    found.errors.push(match[1]);
    found.number = response.headers.get("X-Request-ID");
  }
  return found;
}

run().catch(error => ({failed: String(error)})).then(found => {
  document.getElementById("found").textContent = JSON.stringify(found);
  document.title = "done";
});
</script>
"""


@pytest.fixture
def fill_store(store_uri: str, store: Store) -> None:
    """Store a public and a restricted network of a node."""
    (token,) = register_nodes(store_uri, "GFZ")
    node = store.registry.find_sender_of_token(token, datetime.datetime.now(tz=datetime.UTC)).node
    rows = [
        row(month=month, network=network, clients=sketch(range(number)))
        for number, (month, network) in enumerate(
            [("2026-09-01", "GE"), ("2026-10-01", "GE"), ("2026-10-01", "XX")], start=6
        )
    ]
    store.dataselect.ingest(node, payload(*rows, days_coverage=["2026-09-05", "2026-10-05"]))
    store.registry.set_network_policy("GFZ", "XX", inverted=True)
    store.registry.set_node_group("GFZ", GROUP.rpartition("/")[2])


@ON_ONE_STORE
@pytest.mark.usefixtures("fill_store")
@pytest.mark.parametrize("min_clients", ["0", "5"])
def test_dashboard_reads_all_answers(service_uri: str, tmp_path: Path, min_clients: str) -> None:
    wrong = ["dataselect/public?start=<p><img src=x onerror=alert(1)></p>&format=json", "nothing"]
    with Signer() as signer:
        keys = {"EAS_KEYRING": str(signer.keyring), "EAS_FINGERPRINTS": signer.fingerprint}
        with Service(service_uri, tmp_path, workers=1, MIN_CLIENTS=min_clients, **keys) as service:
            token = base64.b64encode(signer.token(GROUP)).decode()
            settings = {"base": service.url, "token": token, "requests": REQUESTS, "wrong": wrong}
            settings_base64 = base64.b64encode(json.dumps(settings).encode()).decode()
            with serve_page(PAGE.replace("SETTINGS", settings_base64)) as url:
                document = render_page(url, tmp_path / "chromium")
    found = read_result(document)
    assert "failed" not in found, found["failed"]
    assert found["nodes"] == ["GFZ"]
    assert found["networks"] == [["GE", "GFZ"], ["XX", "GFZ"]]
    assert len(found["results"]) + 2 == 19
    assert all(found["results"])
    networks = {row[0] for row in found["results"][8]}
    assert "Other" in networks
    assert found["errors"] == ["The parameters of the request are invalid", "Not Found"]
    assert len(found["number"]) == 36
    assert '<p id="error"><p>' in document
    assert "<img" not in document.partition("<script>")[0]


def read_result(document: str) -> Any:
    """Return the results that the page has written."""
    found = re.search(r'<pre id="found">(.*?)</pre>', document, re.DOTALL)
    assert found is not None, document
    return json.loads(html.unescape(found[1]))
