"""Random requests generated from the OpenAPI document; rules that no schema can express are repaired here."""

import datetime
from typing import Any, NamedTuple

import schemathesis
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.core import NotSet
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.schemas import OpenApiSchema

from eida_statistics.connections import Alive
from eida_stats_webservice.archive.models import Stream
from eida_stats_webservice.archive.paths.parameters import OPERATIONS
from eida_stats_webservice.connections.intake import ConnectionIntake
from eida_stats_webservice.connections.tables import ConnectionTables
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports.kinds import DEFAULT, KINDS
from eida_stats_webservice.web import api_docs
from support import holdings, issued
from support.catalogue import Piece as FilePiece
from support.catalogue import add_epoch, fill_shard
from support.dates import DAY
from support.node_client import make_node
from support.payloads import payload, row, sketch
from support.sensors import add_doors
from support.sent_crawls import make_crawl
from support.service import PREFIX
from support.stores import Store
from support.timelines import AVAILABILITY, Piece, add_shard

# As in the examples of the document, which are sent unchanged.
NODES = ("RESIF", "GEOFON", "ODC")
NETWORKS = ("FR", "Z32015")
HIDDEN = "XX"
COUNTRIES = ("FR", "DE")
OPERATORS = "operators"
DOOR = "423"
SHARD = "resif"
ARCHIVE = "RESIF/archive"
METRICS_TOKEN = issued.note("token-of-prometheus")
MOST = 2**40
_ARCHIVE_TIMES = {"time": "2026-01-05T12:00:00Z", "until": "2026-01-06T00:00:00.5 01:00"}
_RESTRICTED = ("/dataselect/restricted", "/ringserver/restricted", "/holdings/restricted")
COUNTS = ("bytes", "nb_requests", "nb_successful_requests", "nb_unsuccessful_requests")


class Tokens(NamedTuple):
    """Tokens of a node that submits, of the operators of a network, and of the operators of a node."""

    submitting: str
    asking: str
    eas: str


def load_document(prefix: str = PREFIX) -> OpenApiSchema:
    """Load the document, ignoring a developer's schemathesis.toml. No check is switched off."""
    api = schemathesis.openapi.from_path(api_docs.OPENAPI, config=SchemathesisConfig())
    api.config.update(base_url=f"http://localhost{prefix}")
    return api


def fill(store: Store, eas_token: str) -> Tokens:
    """Store the statistics that the document's examples ask for, and return tokens that the service accepts."""
    now = datetime.datetime.now(tz=datetime.UTC)
    submitting = []
    for name in NODES:
        node, token = make_node(store, name)
        submitting.append(token)
        rows = [
            row(
                **dict(zip(("network", "station", "location", "channel"), stream, strict=True)),
                month=f"{month}-01",
                country=country,
            )
            for month in ("2025-12", "2026-01")
            for stream in (
                ("FR", "CIEL", "00", "HHZ"),
                ("Z32015", "A1", "", "BHZ"),
                (HIDDEN, "B", "", "BHZ"),
                ("", "", "--", ""),
            )
            for country in (*COUNTRIES, "")
        ]
        store.dataselect.ingest(node, payload(*rows, days_coverage=["2025-12-05", "2026-01-05"]))
        store.registry.set_network_policy(name, HIDDEN, inverted=True)
        store.registry.set_node_group(name, OPERATORS)
    holdings.create_shard(store, "held", NODES[0])
    holdings.fill_shard(
        store,
        "held",
        holdings.year_of(2020, 100, Stream("FR", "CIEL", "00", "HHZ")),
        holdings.year_of(2015, 9, Stream(HIDDEN, "B", "", "BHZ")),
    )
    add_doors(store, NODES[0], {"House": None}, {DOOR: [("House", 1)]})
    intake = ConnectionIntake(store.database, store.registry, ConnectionTables(store.database))
    intake.store(store.registry.find_node(NODES[0]), [Alive("ring")])
    add_archive(store)
    add_shard(store, NODES[0], "archive", Piece("GE.APE..BHZ", "2024-01-01T00:00:00", "2024-03-01T00:00:00"))
    asking = store.registry.add_network_token(NETWORKS[0], now - DAY, now + DAY)[1]
    return Tokens(submitting[0], asking, eas_token)


def add_archive(store: Store) -> None:
    """Add the archive of a node, with a file of one station."""
    store.shards.create(SHARD, f"/{ARCHIVE}", NODES[0], open_paths=False)
    piece = FilePiece("FR.CIEL.00.HHZ", "2026-01-05T00:00:00", "2026-01-05T23:59:59")
    fill_shard(store, SHARD, {f"/{ARCHIVE}/2026/FR/day": [piece]})
    add_epoch(store, SHARD, piece.stream, (4.0, 44.0), "2000-01-01")


def authorize(case: Case[Any], tokens: Tokens) -> dict[str, str]:
    """Replace random tokens by valid ones, so that the code behind authentication is tested as well."""
    assert case.meta is not None
    if case.path == "/report":
        # A token decides which network the report is about.
        return {}
    is_restricted = case.path in _RESTRICTED
    if "Authorization" in case.headers and not case.meta.is_negative_at(ParameterLocation.HEADER):
        token = {**dict.fromkeys(_RESTRICTED, tokens.asking), "/metrics": METRICS_TOKEN}.get(
            case.path, tokens.submitting
        )
        return {"Authorization": f"Bearer {token}"}
    if is_restricted and case.method == "POST":
        case.media_type = "text/plain"
        case.body = tokens.eas
    return {}


def mend(case: Case[Any], headers: dict[str, str]) -> None:
    """Repair the parts of a schema-valid request that no schema can express, and nothing else.

    Args:
        case: the request.
        headers: the headers that `authorize` returned for it.
    """
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.path.startswith(AVAILABILITY):
        mend_availability(case)
    elif case.path.startswith("/archive/"):
        mend_archive(case)
    elif case.path.startswith(("/send", "/count", "/connections")):
        mend_connections(case)
    else:
        mend_statistics(case, headers)


def mend_statistics(case: Case[Any], headers: dict[str, str]) -> None:
    """Repair a query of statistics, a page or a payload."""
    query = case.query
    if case.path in ("/", "/report"):
        mend_view(query)
    for path, change in (("/ringserver/", mend_days), ("/holdings/", mend_holdings)):
        if case.path.startswith(path):
            change(query)
    # Put months into order; a year may stand for any of its months.
    if "end" in query and "start" in query and _number(query["end"], 12) < _number(query["start"], 1):
        query["start"], query["end"] = query["end"], query["start"].removesuffix("-01")
    if "merge" in query:
        query["level"] = "network"
    mend_names(query)
    # A client that operates no node must name one network.
    if case.path in _RESTRICTED and "Authorization" in headers:
        query["network"] = NETWORKS[0]
    if not isinstance(case.body, NotSet) and isinstance(case.body, dict) and "stats" in case.body:
        if case.path == "/ringserver":
            mend_day(case.body)
        else:
            mend_payload(case.body)


def mend_names(query: dict[str, Any]) -> None:
    """Replace unknown names; keep patterns."""
    for name, known, none, patterns in (
        ("node", NODES, (), ""),
        ("network", (*NETWORKS, HIDDEN), ("", "--"), "*?"),
    ):
        if name in query:
            query[name] = ",".join(
                value if value in (*known, *none) or set(value) & set(patterns) else known[len(value) % len(known)]
                for value in query[name].split(",")
            )


def mend_archive(case: Case[Any]) -> None:
    """Use the archive of the node, one operation with its own parameters, and a crawl."""
    if case.method == "PUT":
        case.path_parameters["shard"] = SHARD
        case.body = make_crawl(root=f"/{ARCHIVE}")
    if case.path != "/archive/{path}":
        return
    case.path_parameters["path"] = ARCHIVE
    query = case.query
    operation = next((name for name in OPERATIONS if name in query), "list_sub_gpath")
    for name in query.keys() - set(OPERATIONS[operation]):
        del query[name]
    query[operation] = ""
    query |= {name: time for name, time in _ARCHIVE_TIMES.items() if name in query}
    if query.get("metadata") == "gdal":
        query.pop("wkt", None)
    elif query.get("wkt", "").startswith("POLYGON"):
        query["wkt"] = "POLYGON ((3 40, 5 40, 5 50, 3 50, 3 40))"


def mend_availability(case: Case[Any]) -> None:
    """Select something, in a window that has a beginning and an end."""
    query = case.query
    if case.method == "POST":
        case.body = "nodata=404\nGE * -- BH? 2024-01-01 2024-02-01\n"
    elif case.path.endswith(("/query", "/extent")):
        query.setdefault("network", "G*")
        times = {"starttime": "2024-01-01", "endtime": "2024-02-01T00:00:00.5Z"}
        query |= {name: time for name, time in times.items() if name in query}


def mend_connections(case: Case[Any]) -> None:
    """Use times of one day, a space with ringservers, and events that the sensors of the node can send."""
    query = case.query
    times = {"start": "2026-01-05", "time": "2026-01-05T12:00:00Z", "end": "2026-01-06T00:00:00.5 01:00"}
    query |= {name: time for name, time in {**times, "timestamp": times["time"]}.items() if name in query}
    if case.path.endswith("/series"):
        query["end"] = times["end"]
    if "space" in query and "protocol" in query:
        query["space"] = NODES[0]
    if query.get("mode") == "live":
        for name in ("match", "protocol"):
            query.pop(name, None)
    if isinstance(case.body, dict | list):
        for one in case.body if isinstance(case.body, list) else [case.body]:
            one |= {"timestamp": "2026-01-05T08:45:21.893Z", "dpu_id": DOOR}
    elif isinstance(case.body, str):
        case.body = '{"event":"alive","instance":"ring"}'


def mend_days(query: dict[str, Any]) -> None:
    """Remove days from queries by months, and make a query by days or hours short and without streams."""
    details = query.get("details", "").split(",")
    if not {"day", "hour"} & set(details):
        query |= {name: "-".join(query[name].split("-")[:2]) for name in ("start", "end") if name in query}
        return
    if "start" in query:
        query |= {"start": "2026-01-05", "end": "2026-02"}
    for name in ("station", "location", "channel"):
        query.pop(name, None)
    if query.get("level") in ("station", "location", "channel"):
        query["level"] = "network"


def mend_holdings(query: dict[str, Any]) -> None:
    """Add a missing start, and remove what snapshots do not have from queries for growth."""
    if "growth" not in query:
        query.setdefault("start", "2025-12")
        return
    for name in ("streams", "station", "location", "channel"):
        query.pop(name, None)
    if "end" in query:
        # Snapshots begin long after the earliest of years.
        query.setdefault("start", query["end"])
    if query.get("level") in ("station", "location", "channel"):
        query["level"] = "network"


def mend_view(query: dict[str, Any]) -> None:
    """Move the months of a page into the past, and replace countries without statistics and wrong columns."""
    if "space" in query:
        # It is no page then, and has no other parameters.
        for name in query.keys() - {"space"}:
            del query[name]
        return
    # An empty value counts as not given.
    for name in [name for name, value in query.items() if value == ""]:
        del query[name]
    # Pages begin in the past, and end when there can be statistics.
    if "start" in query:
        query["start"] = min(query["start"], "2026-01")
    if "end" in query:
        query["end"] = max(query["end"], "2026-01")
    # The period to compare with is another one.
    if "-" in query.get("compare", ""):
        query["compare"] = "year"
    if "country" in query:
        known = (*COUNTRIES, "--")
        query["country"] = ",".join(code if code in known else COUNTRIES[0] for code in query["country"].split(","))
    # Measures and columns are those of the kind.
    kind = KINDS[Kind(query.get("kind", DEFAULT))]
    if query.get("show", "bytes") not in kind.shown:
        query["show"] = kind.count.name
    if query.get("sort", "name").removeprefix("-") not in kind.sorted_columns:
        query["sort"] = kind.count.column
    # A PDF takes seconds.
    if query.get("format") == "pdf":
        query["format"] = "html"


def mend_payload(body: dict[str, Any]) -> None:
    """Move days into the past and rows into covered months, make counts integers and sketches valid."""
    days = [_in_the_past(day) for day in body["days_coverage"]]
    if body.get("period") is not None:
        start, end = sorted(_in_the_past(body["period"][name]) for name in ("start", "end"))
        body["period"] |= {"start": start, "end": end}
        # Rows need a day in their month.
        days = days or [start] * bool(body["stats"])
    else:
        body.pop("source", None)
        days = days or ["2025-06-15"]
    body["days_coverage"] = days
    for number, one in enumerate(body["stats"]):
        one["month"] = f"{days[number % len(days)][:7]}-01"
        one["clients"] = sketch(range(len(one["clients"])))
        # In a schema 1.0 is an integer. Rows of one stream are added up, and their sum must not overflow.
        one |= {name: min(int(value), MOST) for name, value in one.items() if name in COUNTS and value is not None}


def mend_day(body: dict[str, Any]) -> None:
    """Move all rows to one day in the past, and make the lists add up to each other."""
    day = _in_the_past(body["period"]["start"])
    body["period"] |= {"start": day, "end": day}
    for one in body["stats"]:
        # A sum over all rows must not be too large.
        one |= {name: min(int(one[name]), MOST) for name in ("bytes", "packets", "records")}
        one |= {"month": f"{day[:7]}-01", "clients": sketch([1])}
    by_network = ("direction", "network", "country", "bytes", "packets", "clients")
    by_country = ("direction", "country", "bytes", "packets", "clients")
    for name, when, fields in (
        ("days", {"day": day}, (*by_network, "records")),
        ("hours", {"hour": f"{day}T02:00:00Z"}, by_network),
        ("places", {"day": day, "city": "", "geohash": ""}, by_country),
    ):
        body[name] = [when | {field: one[field] for field in fields} for one in body["stats"]]


def _number(month: str, default: int) -> int:
    year, *more = map(int, month.split("-"))
    return year * 12 + (more[0] if more else default)


def _in_the_past(day: str) -> str:
    return day if "1990-01-01" <= day <= "2025-12-31" else "2025-06-15"
