"""GET /: the dashboard, its links, its parameters and the pages of its errors."""

import datetime
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient

from eida_stats_webservice.app import create_app
from eida_stats_webservice.config import Config
from eida_stats_webservice.dashboard.pages import POLICY
from eida_stats_webservice.reports.numbers import NO_BREAK
from support.dashboard import follow, show
from support.federation import fill
from support.pages import Page
from support.ringserver_federation import fill_streaming
from support.service import PREFIX
from support.stores import Store, open_store

YEAR = {"start": "2024-01", "end": "2024-12"}


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an embedded store with the statistics of three nodes, once for all tests."""
    copied = Path(shutil.copy(sqlite_template, tmp_path_factory.mktemp("filled")))
    with closing(open_store(f"sqlite:///{copied}")) as store:
        fill(store, ["A", "B", "C"], [2023, 2024], networks=2)
        store.registry.set_network_policy("A", "A0", inverted=True)
    return copied


@pytest.fixture
def store_uri(filled: Path, tmp_path: Path) -> str:
    """Return the URI of a copy, which a test may change."""
    return f"sqlite:///{shutil.copy(filled, tmp_path)}"


# Links


def test_all_links_work(client: FlaskClient) -> None:
    page = Page(show(client, **YEAR, node="A,B", show="requests", top="1", sort="name").text)
    links = {str(one["href"]) for tag in ("a", "link") for one in page.find_all(tag)}
    links |= {str(one["src"]) for one in page.find_all("script")}
    assert len(links) > 15
    for link in links:
        assert not urlsplit(link).netloc
        if "format=pdf" not in link:
            assert follow(client, link).status_code == 200, link


def test_links_keep_the_kind(store: Store, client: FlaskClient) -> None:
    fill_streaming(store, ["A"], [datetime.date(2024, 2, 1)])
    shown = {"start": "2024-01", "end": "2024-02", "show": "packets", "sort": "-packets"}
    page = Page(show(client, **shown, kind="ringserver").text)
    links = {str(one["href"]): one for one in page.find_all("a")}
    for link in links:
        if "format=pdf" not in link:
            assert follow(client, link).status_code == 200, link
    of_views = [link for link in links if link.startswith(("?", "report?"))]
    # What the other kind does not have is left out.
    assert [link for link in of_views if "kind=ringserver" not in link] == ["?start=2024-01&end=2024-02"]
    current = [one["href"] for one in links.values() if one.get("aria-current")]
    assert [parse_qs(str(link).removeprefix("?"))["kind"] for link in current] == [["ringserver"]]
    assert {one["name"]: one["value"] for one in page.find_all("input")}["kind"] == "ringserver"


def test_downloads_are_of_this_view(client: FlaskClient) -> None:
    links = Page(show(client, **YEAR, country="DE", compare="none", show="clients").text).sections[""].links
    expected = {"start": ["2024-01"], "end": ["2024-12"], "country": ["DE"], "compare": ["none"]}
    for text in ("This view as PDF", "This view as CSV", "This view as JSON"):
        assert parse_qs(urlsplit(links[text]).query).items() >= expected.items()
    found = follow(client, links["This view as JSON"]).get_json()
    assert (found["scope"]["country"], found["comparisons"]) == (["DE"], [])


def test_files_of_the_page_never_change(client: FlaskClient) -> None:
    page = Page(show(client).text)
    names = [str(one["href"]) for one in page.find_all("link")] + [str(page.find_all("script")[0]["src"])]
    assert len({Path(name).suffix for name in names}) == 4
    style = next(follow(client, name).text for name in names if name.endswith(".css"))
    font = next(name for name in names if name.endswith(".woff2"))
    assert f"url({Path(font).name})" in style
    for name in names:
        response = follow(client, name)
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        other = follow(client, name.replace(Path(name).name[-8:-5], "xyz"))
        assert other.status_code == 404
    assert len(follow(client, str(page.find_all("script")[0]["src"])).data) <= 10_000


def test_page_obeys_its_policy(client: FlaskClient) -> None:
    response = show(client, **YEAR)
    assert response.headers["Content-Security-Policy"] == POLICY
    page = Page(response.text)
    assert not page.find_all("style")
    assert all("src" in one for one in page.find_all("script"))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag


# Parameters


def test_default_is_the_last_twelve_whole_months(client: FlaskClient) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    values = {one["name"]: one.get("value") for one in Page(show(client).text).find_all("input")}
    last = today.replace(day=1) - datetime.timedelta(days=1)
    assert values["end"] == last.isoformat()[:7]
    assert values["start"] == (last.replace(day=28) - datetime.timedelta(days=334)).isoformat()[:7]
    # Browsers send empty fields.
    assert Page(show(client, start="", node="", network="", sort="").text).text == Page(show(client).text).text


def test_tables_are_cut_and_sorted(client: FlaskClient) -> None:
    networks = Page(show(client, **YEAR, top="3", sort="name").text).sections["networks"]
    assert [row[0] for row in networks.rows[1:]] == ["A1", "B0", "B1", "requests without data", "Other"]
    text = Page(show(client, **YEAR, top="3").text).text
    assert "3 with most data, of 6." in text
    assert parse_qs(networks.links["Network"].removeprefix("?"))["sort"] == ["-name"]
    assert parse_qs(networks.links["Clients"].removeprefix("?"))["sort"] == ["-clients"]
    heads = Page(show(client, **YEAR, sort="-clients").text).find_all("th")
    assert {one["aria-sort"] for one in heads if "aria-sort" in one} == {"descending"}


@pytest.mark.parametrize(
    ("compare", "words"),
    [
        ("year", "against 2023"),
        ("previous", "against 2023"),
        ("2023-06", "with June 2023 to May 2024"),
        ("none", None),
    ],
)
def test_compared_period_can_be_chosen(client: FlaskClient, compare: str, words: str | None) -> None:
    text = (
        Page(show(client, **YEAR, compare=compare).text)
        .text.replace(NO_BREAK, " ")
        .partition("How to read this")[0]
    )
    lines = [line for line in text.splitlines() if " against " in line or "not comparable" in line]
    assert bool(lines) == (words is not None)
    if words is not None and not (compare == "2023-06" and "against" in lines[0]):
        assert words in "".join(lines)


def test_charts_can_be_by_year(client: FlaskClient) -> None:
    page = Page(show(client, start="2023-01", end="2024-12", by="year").text)
    assert [row[0] for row in page.sections["months"].rows] == ["Year", "2023", "2024"]
    assert any(title.startswith("2024: ") for title in page.sections["clients"].titles)


def test_period_without_statistics_links_to_the_last(client: FlaskClient) -> None:
    response = show(client, start="2025-02", end="2025-03", node="A")
    assert response.status_code == 200
    page = Page(response.text)
    assert "No statistics of requests from February to March 2025; the last ones are of December 2024." in page.text
    assert not page.find_all("svg")
    assert (
        "Data delivered on request by A in December 2024"
        in follow(client, page.sections[""].links["December 2024"]).text
    )


def test_kind_without_statistics_links_to_the_other(store: Store, client: FlaskClient) -> None:
    streamed = {**YEAR, "kind": "ringserver"}
    page = Page(show(client, **streamed, node="A").text)
    assert "There are no statistics of streaming yet." in page.text
    assert (
        "Data delivered on request by A"
        in follow(client, page.sections[""].links["Show requests (dataselect)"]).text
    )
    fill_streaming(store, ["A"], [datetime.date(2024, 2, 1)])
    for query, words in (
        ({"node": "B"}, "Node B has no statistics of streaming in any period."),
        ({"node": "B,C"}, "Nodes B and C have no statistics of streaming in any period."),
        ({"network": "C0"}, "Network C0 has no statistics of streaming in any period."),
        ({"network": "GE", "node": "B"}, "This selection has no statistics of streaming in any period."),
        ({"node": "A", "end": "2024-01"}, "No statistics of streaming in January 2024; the last ones are of"),
    ):
        page = Page(show(client, **{**streamed, **query}).text)
        assert words in page.text
        assert ("Show requests (dataselect)" in page.sections[""].links) == ("any period" in words)


def test_few_clients_hide_whether_a_network_is_streamed(store: Store, service_uri: str) -> None:
    fill_streaming(store, ["A"], [datetime.date(2024, 2, 1)])
    client = create_app(Config(service_uri, min_clients=5)).test_client()
    text = show(client, **YEAR, kind="ringserver", network="C0").text
    assert "No statistics of streaming in 2024" in text
    assert "any period" not in text


def test_month_that_is_not_over_is_so_far(store: Store, client: FlaskClient) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    fill(store, ["N"], [today.year], networks=1)
    page = Page(show(client, start=f"{today:%Y-%m}").text)
    assert f"in {today:%B %Y} so far" in page.text
    assert page.sections["months"].rows[1][0] == f"{today:%B %Y} so far"


# Validators


def test_unchanged_page_is_304(store: Store, client: FlaskClient) -> None:
    first = show(client, **YEAR)
    headers = {"If-None-Match": first.headers["ETag"]}
    assert client.get(f"{PREFIX}/", query_string=YEAR, headers=headers).status_code == 304
    assert client.get(f"{PREFIX}/", query_string={**YEAR, "node": "A"}, headers=headers).status_code == 200
    store.registry.set_network_policy("B", "B0", inverted=True)
    assert client.get(f"{PREFIX}/", query_string=YEAR, headers=headers).status_code == 200


# Errors


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"node": "a"}, "node", "No node 'a' (capitals matter). Did you mean A?"),
        ({"network": "ge"}, "network", "Did you mean GE?"),
        ({"country": "DK"}, "country", "No statistics of country 'DK'"),
        ({"country": "Germany"}, "country", "Did you mean DE"),
        ({"start": "2024-13"}, "start", "start=2024-13. Use YYYY-MM or YYYY."),
        ({"start": "2100-01", "end": ""}, "start", "It is in the future."),
        ({"end": "2023-12"}, "end", "end=2023-12 is before start=2024-01."),
        ({"network": "FR,GE"}, "network", "Use one extended network code"),
        ({"top": "0"}, "top", "Use a number from 1 to 100."),
        ({"kind": "streaming"}, None, "kind=streaming. Use dataselect or ringserver."),
        ({"kind": "ringserver", "show": "requests"}, "show", "Use bytes or packets or clients."),
        ({"kind": "ringserver", "sort": "nb_reqs"}, None, "Use name, bytes, packets, clients, days_received"),
        ({"show": "x"}, "show", "Use bytes or requests or clients."),
        ({"by": "day"}, "by", "Use month or year."),
        ({"compare": "2023"}, "compare", "Use year, previous, none, or the first month"),
        ({"compare": "2100-01"}, "compare", "Use a month from 1990-01"),
        ({"sort": "x"}, None, "Use name, bytes"),
        ({"level": "node"}, None, "there is no such parameter"),
        ({"start": ["2024-01", "2024-02"]}, "start", "start is there twice. It takes one value."),
    ],
)
def test_bad_values_are_named_at_their_field(
    client: FlaskClient, query: dict[str, Any], field: str | None, words: str
) -> None:
    response = client.get(f"{PREFIX}/", query_string={**YEAR, **query})
    assert (response.status_code, response.mimetype) == (400, "text/html")
    assert response.headers["Content-Security-Policy"] == POLICY
    page = Page(response.text)
    assert words in " ".join(page.text.split())
    wrong = [one for tag in ("input", "select") for one in page.find_all(tag) if "aria-invalid" in one]
    assert [one["name"] for one in wrong] == ([field] if field else [])
    assert all(one["aria-describedby"] == "mistake" and "autofocus" in one for one in wrong)
    # What else was filled in is still there.
    if "end" not in query:
        assert {one["name"]: one.get("value") for one in page.find_all("input")}["end"] == "2024-12"
    # The report says the same.
    same = client.get(f"{PREFIX}/report", query_string={**YEAR, **query})
    assert (same.status_code, words in " ".join(Page(same.text).text.split())) == (400, True)
    problem = client.get(f"{PREFIX}/report", query_string={**YEAR, **query, "format": "json"})
    assert (problem.status_code, problem.get_json()["type"].rpartition(":")[2]) == (400, "bad-parameter")


def test_parameters_with_an_underscore_are_ignored(client: FlaskClient) -> None:
    assert show(client, **YEAR, _="1").status_code == 200


def test_country_of_few_clients_is_not_revealed(service_uri: str) -> None:
    client = create_app(Config(service_uri, min_clients=5)).test_client()
    statuses = {country: show(client, **YEAR, country=country).status_code for country in ("DK", "QQ")}
    # Whether there are statistics of DK, the page does not say.
    assert statuses == {"DK": 200, "QQ": 400}


def test_restricted_network_has_no_figures(client: FlaskClient) -> None:
    response = show(client, **YEAR, network="A0")
    assert (response.status_code, response.mimetype) == (401, "text/html")
    page = Page(response.text)
    assert "The statistics of this network are not public" in page.text
    assert not page.find_all("svg")
    assert not page.find_all("table")
    suggested = [one.get("value") for one in page.find_all("option")]
    assert "A1" in suggested
    assert "A0" not in suggested


def test_texts_are_escaped(store: Store, client: FlaskClient) -> None:
    name = "<script>alert(1)</script>&\"'"
    fill(store, [name, "x" * 60], [2024], networks=1)
    page = Page(show(client, **YEAR).text)
    assert len(page.find_all("script")) == 1
    assert name in [row[0] for row in page.sections["nodes"].rows]
    assert len(Page(show(client, **YEAR, node=name).text).find_all("script")) == 1
    assert len(Page(show(client, **YEAR, node="<script>").text).find_all("script")) == 1


def test_token_makes_no_difference(client: FlaskClient) -> None:
    response = client.get(f"{PREFIX}/", query_string=YEAR, headers={"Authorization": "Bearer x"})
    assert (response.status_code, response.text) == (200, show(client, **YEAR).text)
