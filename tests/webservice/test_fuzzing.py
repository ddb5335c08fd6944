"""Random and hand-made requests are answered as the OpenAPI document says, and never cause a fault."""

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings
from schemathesis import APIOperation, Case
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from werkzeug.test import TestResponse

from eida_statistics.errors import PROBLEM_PREFIX
from eida_stats_webservice.app import create_app
from eida_stats_webservice.auth import eas
from eida_stats_webservice.config import Config
from eida_stats_webservice.query.parameters import MAX_LIMIT
from support.requests_from_openapi import METRICS_TOKEN, OPERATORS, Tokens, authorize, fill, load_document, mend
from support.service import PREFIX
from support.signer import Signer
from support.statistics import ALIASES
from support.stores import ON_ONE_STORE, Store

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PUBLIC = f"{PREFIX}/dataselect/public"
RESTRICTED = f"{PREFIX}/dataselect/restricted"


class Current:
    """The application of the current test: requests are generated before its database exists."""

    app: Flask

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return self.app(environ, start_response)


CURRENT = Current()
API = load_document()
API.app = CURRENT
# The paths that are not below the prefix.
API_AT_ROOT = load_document("")
API_AT_ROOT.app = CURRENT


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as made:
        yield made


@pytest.fixture(scope="module")
def eas_token(signer: Signer) -> str:
    return signer.token(f"/epos/{OPERATORS}").decode()


@pytest.fixture
def tokens(
    service_uri: str, store: Store, signer: Signer, eas_token: str, monkeypatch: pytest.MonkeyPatch
) -> Tokens:
    """Create the application with statistics, and return tokens that it accepts."""
    # Hundreds of requests have the same token, and gpg is slow: it verifies each document once.
    monkeypatch.setattr(eas.Verifier, "_verify", cache(eas.Verifier._verify))
    made = fill(store, eas_token)
    config = Config(
        service_uri,
        eas_keyring=str(signer.keyring),
        eas_fingerprints=signer.fingerprint,
        metrics_token=METRICS_TOKEN,
        max_failures_per_minute=0,
    )
    CURRENT.app = create_app(config)
    return made


@pytest.fixture
def current_client(tokens: Tokens) -> FlaskClient:
    return CURRENT.app.test_client()


# Generated requests


# The fault tests send such requests to running services on both stores, also to the old name of /submit.
OPERATIONS = [
    *(
        found.ok()
        for found in API.exclude(path="/dataselectstats").exclude(path_regex="^/fdsnws/").get_all_operations()
    ),
    *(found.ok() for found in API_AT_ROOT.include(path_regex="^/fdsnws/").get_all_operations()),
]


# Each of them shares its parsers with another operation.
LIKE_OTHERS = {
    *("POST /dataselect/restricted", "GET /ringserver/public", "POST /ringserver/restricted", "GET /usage"),
    *("POST /holdings/restricted", "GET /fdsnws/availability/1/extent"),
}


@ON_ONE_STORE
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_service_conforms_to_the_document(operation: APIOperation[Any, Any, Any, Any], tokens: Tokens) -> None:
    # Restricted queries are like public ones. Streams and usage have the parser of dataselect.
    is_slow_or_similar = operation.path.endswith("/restricted") or "dataselect" not in operation.path
    is_query = operation.path.endswith(("/public", "/restricted", "/usage"))

    @settings(derandomize=True, deadline=None, max_examples=5 if is_query and is_slow_or_similar else 10)
    def conforms(case: Case[Any]) -> None:
        headers = authorize(case, tokens)
        mend(case, headers)
        # The client in this process unpacks nothing.
        case.call_and_validate(headers={"Accept-Encoding": "identity", **headers})

    config = deepcopy(operation.schema.config)
    # Some hundreds of requests, at all limits that the document states.
    config.phases.coverage.enabled = operation.label not in LIKE_OTHERS
    # Not with API.parametrize(): that generates all requests when tests are collected, 12 seconds for each worker.
    build_operation_test(
        config=config,
        operation=operation,
        test_func=conforms,
        given_kwargs={},
        feedback=FeedbackSources(),
    )()


# Hand-made requests

LONG = 10_000
# The query as in a URL, and the parameter that the answer must name. A missing start is added in front.
REFUSED = [
    *[
        (f"{name}={value}", ALIASES.get(name, name))
        for name in ("start", "starttime", "end", "endtime")
        for value in (
            *(
                "",
                "22",
                "2022-001",
                "2022-00",
                "2022-13",
                "0000-01",
                "2022-01-1",
                "2022-01-02",
                "202201",
                "-2022-01",
            ),
            *("2022-01%00", "%002022-01", "2022-01%0A", "%202022-01", "2022-01+", "2022/01", "now", "null", "NaN"),
            *("%FF%FE", "2022-%C3", "%E2%80%AE2022-01", "%D9%A2%D9%A0%D9%A2%D9%A2-%D9%A0%D9%A1", "%EF%BC%92022-01"),
            *(
                "2022-01%27",
                "2022-01%27%20OR%20%271%27=%271",
                "2022-01;DROP%20TABLE%20nodes",
                "2022-01%23",
                "2" * LONG,
            ),
        )
    ],
    ("start=2026-01&end=2025-12", "end"),
    ("starttime=2026-01&endtime=1990-01", "end"),
    # Repeated parameters
    ("start=2026-01&start=2026-01", "start"),
    ("start=2026-01&starttime=2026-01", "start"),
    ("start=2026-01&start=2026-02&start=2026-03", "start"),
    ("level=node&level=network", "level"),
    ("limit=1&limit=1", "limit"),
    ("node=RESIF&node=ODC&node=unknown", "node"),
    ("node=RESIF&node=", "node"),
    ("country=FR&country=", "country"),
    # Names
    *[
        (f"{name}={value}", ALIASES.get(name, name))
        for name in ("node", "network", "net")
        for value in (
            *(
                ",",
                "unknown",
                "%00",
                "RESIF%00",
                "FR%00",
                "%FF",
                "%C3%28",
                "%ED%A0%80",
                "'",
                "%22",
                "%5C",
                "%60",
            ),
            *(
                "'%20OR%20'1'='1",
                "';%20DROP%20TABLE%20nodes;%20--",
                "%25s",
                "%25(x)s",
                "{0}",
                "$$",
                "..%2F..%2Fetc",
                "%0D%0AX:%20y",
            ),
            *("<script>", "%F0%9F%92%A5", "RESIF%0A", "A" * LONG, "A," * (LONG // 2), "%00" * LONG),
        )
    ],
    *[
        (f"country={value}", "country")
        for value in (
            ",",
            "F",
            "FRA",
            "f",
            "F-",
            "%C3%9F",
            "F%00",
            "%C3%89S",
            "FR,",
            "FR,,DE",
            "FR%20",
            "'A",
            "FR," * (LONG // 3),
        )
    ],
    # Choices
    *[(f"level={value}", "level") for value in ("", "NODE", "node%00", "all", "node,network", "node%20", "5")],
    *[
        (f"details={value}", "details")
        for value in (
            "",
            ",",
            "day",
            "month,year",
            "year,country,month",
            "month,",
            "MONTH",
            "month%00",
            "month;country",
        )
    ],
    *[(f"format={value}", "format") for value in ("", "xml", "CSV", "json%00", "json,csv", "JSON", "..%2Fcsv")],
    *[
        (f"{name}={value}", name)
        for name in ("hllvalues", "unsuccessful")
        for value in ("", "1", "yes", "True", "TRUE", "true%00", "null")
    ],
    *[
        (f"nodata={value}", "nodata")
        for value in ("", "200", "0204", "204.0", "+204", "-404", "204%00", "4" * LONG)
    ],
    *[
        (f"sort={value}", "sort")
        for value in (
            *("", "-", "--bytes", "bytes,clients", "BYTES", "hll_clients", "nb_failedrequests", "bytes%00", "1"),
            *("bytes%20DESC", "bytes;SELECT%201", "(SELECT%20pg_sleep(9))", "date%22", "+bytes"),
        )
    ],
    *[
        (f"limit={value}", "limit")
        for value in (
            *(
                "",
                "0",
                "-1",
                "+1",
                "1.5",
                "1.0",
                "1e3",
                "0x10",
                "1_000",
                "%201",
                "1%00",
                "NaN",
                "inf",
                "true",
                "%D9%A1",
            ),
            *(
                str(MAX_LIMIT + 1),
                str(2**31),
                str(2**63),
                str(2**64),
                "9" * 400,
                "9" * LONG,
                "1;DROP%20TABLE%20nodes",
            ),
        )
    ],
    # Unknown parameters
    *[
        (f"{name}=1", message)
        for name, message in (
            *(
                (name, name)
                for name in ("foo", "START", "Start", "request", "date", "nodes", "channels", "start[]")
            ),
            *(("start%00", "start"), ("%20start", "start"), ("x" * LONG, "xxx"), ("%3Cb%3E", "<b>")),
        )
    ],
]
FINE = [
    ("station=" + "S" * 17, "station"),
    ("sta=%00", "station"),
    ("station=S1,,S2", "station"),
    ("station=S1'--", "station"),
    ("station=" + "%2A" * LONG, "station"),
    ("location=%FF", "location"),
    ("loc=" + "-," * (LONG // 2), "location"),
    ("location=00;10", "location"),
    ("channel=BH[ZNE]", "channel"),
    ("cha=BH%25", "channel"),
    ("channel=" + "B" * 33, "channel"),
    ("channel=", "channel"),
    ("level=stations", "level"),
    ("network=%28F%7CG%29", "network"),
    ("station=S1&sta=S1,", "station"),
]
NOT_PUBLIC = [
    *((f"{name}=00", name) for name in ("station", "sta", "location", "loc", "channel", "cha")),
    *((f"level={level}", "level") for level in ("station", "location", "channel")),
    ("network=FR&sta=S1", "sta"),
    ("network=FR&net=FR", "network"),
    *((f"network={value}", "network") for value in ("*", "F?", "FR,Z32015", "*,*")),
]


@ON_ONE_STORE
@pytest.mark.parametrize("form", [None, "csv", "text", "json", "parquet"])
@pytest.mark.parametrize(("path", "queries"), [(PUBLIC, REFUSED + NOT_PUBLIC), (RESTRICTED, REFUSED + FINE)])
def test_bad_query_is_400_in_the_requested_format(
    current_client: FlaskClient, tokens: Tokens, path: str, queries: list[tuple[str, str]], form: str | None
) -> None:
    # All are plain text or a problem in JSON, so a part is enough for the other formats.
    for query, name in queries if form in {None, "json"} else queries[::10]:
        if name == "format" and form is not None:
            continue
        names = {pair.partition("=")[0] for pair in query.split("&")}
        url_query = query if names & {"start", "starttime"} else f"start=2026-01&{query}"
        url_query += "" if form is None else f"&format={form}"
        assert_refused(ask(current_client, tokens, path, url_query), name, form, query)


@ON_ONE_STORE
@pytest.mark.parametrize("path", [PUBLIC, RESTRICTED])
def test_missing_start_is_400(current_client: FlaskClient, tokens: Tokens, path: str) -> None:
    for query in ("", "&", "=", "end=2026-01&level=node", "format=csv"):
        assert_refused(ask(current_client, tokens, path, query), "start" if query != "=" else "=", None, query)


def test_bad_queries_change_nothing(current_client: FlaskClient, tokens: Tokens, store: Store) -> None:
    found = ask(current_client, tokens, PUBLIC, "start=2025-12&level=network&details=month,country").text
    for query, _ in REFUSED:
        assert ask(current_client, tokens, PUBLIC, f"start=2025-12&{query}").status_code == 400, query[:100]
    assert ask(current_client, tokens, PUBLIC, "start=2025-12&level=network&details=month,country").text == found


def ask(current_client: FlaskClient, tokens: Tokens, path: str, query: str) -> TestResponse:
    """Send a query exactly as it is in the URL."""
    if path == PUBLIC:
        return current_client.get(path, query_string=query)
    return current_client.post(path, query_string=query, headers={"Authorization": f"Bearer {tokens.asking}"})


def assert_refused(response: TestResponse, name: str, form: str | None, query: str) -> None:
    """Check that an answer is 400, short, in the requested format, and names the parameter."""
    shown = (query[:100], response.text)
    assert response.status_code == 400, shown
    assert len(response.text) < 1000, shown
    if form in {"json", "parquet"}:
        assert response.content_type == "application/problem+json", shown
        problem = json.loads(response.data)
        assert (problem["type"], problem["status"]) == (f"{PROBLEM_PREFIX}bad-parameter", 400), shown
        detail = problem["detail"]
    else:
        assert response.content_type == "text/plain; charset=utf-8", shown
        lines = response.text.split("\n")
        assert lines.pop() == "", shown
        assert all(line.startswith("# ") for line in lines), shown
        assert "# status: 400" in lines, shown
        (detail,) = [line.removeprefix("# detail: ") for line in lines if line.startswith("# detail: ")]
    assert name in detail, shown
    assert detail.isprintable(), shown
