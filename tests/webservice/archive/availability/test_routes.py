"""Tests of the FDSN availability service over HTTP."""

import io
import json

import pandas as pd
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from support.stores import ON_ONE_STORE, Store
from support.timelines import AVAILABILITY, Piece, add_pieces, add_shard, read_error, read_table

DAY = "start=2024-01-02&end=2024-01-03"
PIECES = [
    Piece("GE.APE..BHZ", "2024-01-01T00:00:00", "2024-01-02T12:00:00"),
    Piece("GE.APE..BHZ", "2024-01-02T13:00:00", "2024-01-09T00:00:00", updated="2026-01-02T00:00:00"),
    Piece("GE.APE.00.BHZ", "2024-01-02T00:00:00.019538", "2024-01-02T00:00:01", quality="M"),
    Piece("GE.STU..LHZ", "2024-01-01T00:00:00", "2024-01-09T00:00:00", rate=1.0),
    Piece("XX.S1..BHZ", "2024-01-01T00:00:00", "2024-01-09T00:00:00"),
    Piece("Z32015.A1..HHZ", "2015-05-01T00:00:00", "2015-06-01T00:00:00", rate=100.0),
    Piece("Z32015.C1..HHZ", "2015-05-01T00:00:00", "2015-06-01T00:00:00", rate=100.0),
    Piece("Z32020.B1..HHZ", "2020-05-01T00:00:00", "2020-06-01T00:00:00", rate=100.0),
]


@pytest.fixture(autouse=True)
def shard(store: Store) -> str:
    add_shard(store, "GFZ", "gfz", *PIECES)
    store.registry.add_network("GFZ", "XX")
    store.registry.set_network_policy("GFZ", "XX", inverted=True)
    return "gfz"


def query(client: FlaskClient, parameters: str, path: str = "query") -> TestResponse:
    return client.get(f"{AVAILABILITY}/{path}?{parameters}")


def read_rows(client: FlaskClient, parameters: str, path: str = "query") -> list[dict[str, str]]:
    response = query(client, parameters, path)
    assert response.status_code in (200, 204), response.text
    return read_table(response.text) if response.status_code == 200 else []


def read_streams(client: FlaskClient, parameters: str) -> list[str]:
    rows = read_rows(client, parameters, "extent")
    return [".".join(row[name] for name in ("Network", "Station", "Location", "Channel")) for row in rows]


def test_spans_are_cut_to_the_window(client: FlaskClient) -> None:
    rows = read_rows(client, f"net=GE&sta=APE&loc=--&cha=BHZ&{DAY}")
    assert rows == [
        dict(
            zip(
                ("Network", "Station", "Location", "Channel", "Quality", "SampleRate", "Earliest", "Latest"),
                ("GE", "APE", "--", "BHZ", "D", "20.0", *times),
                strict=True,
            )
        )
        for times in (
            ("2024-01-02T00:00:00.000000Z", "2024-01-02T12:00:00.000000Z"),
            ("2024-01-02T13:00:00.000000Z", "2024-01-03T00:00:00.000000Z"),
        )
    ]


def test_extent_has_its_columns(client: FlaskClient) -> None:
    (row,) = read_rows(client, "net=GE&sta=APE&loc=--&cha=BHZ", "extent")
    assert row == {
        "Network": "GE",
        "Station": "APE",
        "Location": "--",
        "Channel": "BHZ",
        "Quality": "D",
        "SampleRate": "20.0",
        "Earliest": "2024-01-01T00:00:00.000000Z",
        "Latest": "2024-01-09T00:00:00.000000Z",
        "Updated": "2026-01-02T00:00:00.000000Z",
        "TimeSpans": "2",
        "Restriction": "OPEN",
    }


SELECTIONS: list[tuple[str, list[str]]] = [
    ("net=GE", ["GE.APE.--.BHZ", "GE.APE.00.BHZ", "GE.STU.--.LHZ"]),
    ("network=GE&station=APE", ["GE.APE.--.BHZ", "GE.APE.00.BHZ"]),
    ("net=G?&cha=L*,H*", ["GE.STU.--.LHZ"]),
    ("sta=*P*", ["GE.APE.--.BHZ", "GE.APE.00.BHZ"]),
    ("sta=STU,A*&net=GE", ["GE.APE.--.BHZ", "GE.APE.00.BHZ", "GE.STU.--.LHZ"]),
    ("net=GE&loc=--", ["GE.APE.--.BHZ", "GE.STU.--.LHZ"]),
    ("net=GE&loc=%20%20", ["GE.APE.--.BHZ", "GE.STU.--.LHZ"]),
    ("net=GE&loc=??", ["GE.APE.--.BHZ", "GE.APE.00.BHZ", "GE.STU.--.LHZ"]),
    ("net=GE&loc=00,10", ["GE.APE.00.BHZ"]),
    ("net=GE&quality=M,Q", ["GE.APE.00.BHZ"]),
    ("net=Z3", ["Z3.A1.--.HHZ", "Z3.B1.--.HHZ", "Z3.C1.--.HHZ"]),
    ("net=Z32015", ["Z3.A1.--.HHZ", "Z3.C1.--.HHZ"]),
    ("net=Z32020,Z99999", ["Z3.B1.--.HHZ"]),
    ("net=Z?2020", ["Z3.B1.--.HHZ"]),
    ("net=Z3&start=2019-01-01", ["Z3.B1.--.HHZ"]),
    ("net=ge", []),
    ("cha=HHZ&net=GE,Z3&sta=C1", ["Z3.C1.--.HHZ"]),
]


def test_streams_are_selected(client: FlaskClient) -> None:
    for selection, streams in SELECTIONS:
        assert read_streams(client, selection) == streams, selection


def test_restricted_networks_appear_on_request(client: FlaskClient) -> None:
    assert not any(stream.startswith("XX") for stream in read_streams(client, "net=*"))
    assert query(client, "net=XX").status_code == 204
    (row,) = read_rows(client, "net=XX&includerestricted=true", "extent")
    assert row["Restriction"] == "RESTRICTED"
    assert len(read_rows(client, "net=XX&includerestricted=true")) == 1


def test_policy_of_the_node_is_that_of_its_other_networks(client: FlaskClient, store: Store) -> None:
    store.registry.set_node_policy("GFZ", restricted=True)
    assert read_streams(client, "net=*") == ["XX.S1.--.BHZ"]


def test_short_window_finds_its_span(client: FlaskClient) -> None:
    stream = "net=GE&sta=APE&loc=--"
    assert len(read_rows(client, f"{stream}&start=2024-01-03T10:00:00&end=2024-01-03T10:00:00.000001Z")) == 1
    assert read_rows(client, f"{stream}&start=2024-01-02T12:30&end=2024-01-02T12:31") == []


def test_lines_of_a_body_have_windows(client: FlaskClient) -> None:
    body = """
        format=request
        GE APE -- BHZ 2024-01-02T00:00:00 2024-01-02T01:00:00
        GE A* -- BHZ 2024-01-02T00:30:00 2024-01-02T02:00:00
        GE APE -- BHZ 2024-01-05 2024-01-06
        Z3 A1 * *
        GE STU -- LHZ * 2024-01-02
        XX * * * * *
    """
    response = client.post(f"{AVAILABILITY}/query", data=body)
    assert response.text.splitlines() == [
        "GE APE -- BHZ 2024-01-02T00:00:00.000000Z 2024-01-02T02:00:00.000000Z",
        "GE APE -- BHZ 2024-01-05T00:00:00.000000Z 2024-01-06T00:00:00.000000Z",
        "GE STU -- LHZ 2024-01-01T00:00:00.000000Z 2024-01-02T00:00:00.000000Z",
        "Z3 A1 -- HHZ 2015-05-01T00:00:00.000000Z 2015-06-01T00:00:00.000000Z",
    ]
    # The answer is the body of the next request.
    assert client.post(f"{AVAILABILITY}/query", data=f"format=request\n{response.text}").text == response.text


def test_one_line_is_like_a_url(client: FlaskClient) -> None:
    posted = client.post(f"{AVAILABILITY}/extent", data="GE * * * 2024-01-02 2024-01-03\n")
    assert posted.text == query(client, f"net=GE&{DAY}", "extent").text


def test_lines_select_extents(client: FlaskClient) -> None:
    body = "GE APE -- BHZ 2024-01-01 2024-01-02T13:30\nGE AP? -- BHZ 2024-01-08 2024-02-01\nGE STU * *"
    rows = read_table(client.post(f"{AVAILABILITY}/extent", data=body).text)
    assert [(row["Station"], row["Latest"][:10], row["TimeSpans"]) for row in rows] == [
        ("APE", "2024-01-09", "3"),
        ("STU", "2024-01-09", "1"),
    ]


def test_times_of_other_centuries_and_leap_seconds(client: FlaskClient, store: Store) -> None:
    add_pieces(
        store,
        "gfz",
        [
            Piece("OL.A..BHZ", "1970-01-01T00:00:00", "1970-01-02T00:00:00"),
            Piece("OL.A..BHZ", "2262-04-11T00:00:00", "2262-04-12T00:00:00"),
        ],
    )
    assert [row["Earliest"][:4] for row in read_rows(client, "net=OL&start=1900-01-01&end=9999-12-31")] == [
        "1970",
        "2262",
    ]
    (row,) = read_rows(client, "net=GE&sta=STU&start=2024-01-02T23:59:60&end=2024-01-03")
    assert row["Earliest"] == "2024-01-02T23:59:59.999999Z"


# Order


def test_rows_are_ordered(client: FlaskClient) -> None:
    def read(order: str, path: str = "extent") -> list[str]:
        return [row["Updated"][:10] for row in read_rows(client, f"net=GE&show=latestupdate&orderby={order}", path)]

    assert read("latestupdate") == ["2026-01-01", "2026-01-01", "2026-01-02"]
    assert read("latestupdate_desc", "query") == ["2026-01-02", *["2026-01-01"] * 3]
    counts = [row["TimeSpans"] for row in read_rows(client, "net=GE&orderby=timespancount_desc", "extent")]
    assert counts == ["2", "1", "1"]
    assert read_streams(client, "net=GE&orderby=timespancount")[-1] == "GE.APE.--.BHZ"
    assert read_streams(client, "net=GE&orderby=timespancount_desc&limit=1") == ["GE.APE.--.BHZ"]
    assert read_streams(client, "net=GE&limit=2") == ["GE.APE.--.BHZ", "GE.APE.00.BHZ"]


def test_shards_are_one_answer(client: FlaskClient, store: Store) -> None:
    add_shard(
        store,
        "NOA",
        "noa",
        Piece("GE.APE..BHZ", "2024-01-08T00:00:00", "2024-01-10T00:00:00"),
        Piece("GE.MMM..BHZ", "2024-01-08T00:00:00", "2024-01-10T00:00:00"),
    )
    assert read_streams(client, "net=GE&loc=--") == ["GE.APE.--.BHZ", "GE.MMM.--.BHZ", "GE.STU.--.LHZ"]
    assert len(read_rows(client, "net=GE&sta=APE&loc=--")) == 3
    (first, last) = read_rows(client, "net=GE&sta=APE&loc=--&merge=overlap")
    assert (first["Latest"][:10], last["Latest"][:10]) == ("2024-01-02", "2024-01-10")
    # A shard may have another policy.
    store.registry.set_node_policy("NOA", restricted=True)
    rows = read_rows(client, "net=GE&sta=APE&loc=--&includerestricted=true", "extent")
    assert [row["Restriction"] for row in rows] == ["OPEN", "RESTRICTED"]


# Joined spans


def test_spans_are_joined_on_request(client: FlaskClient, store: Store) -> None:
    add_pieces(
        store,
        "gfz",
        [
            Piece("JO.A..BHZ", "2024-01-01T00:00:00", "2024-01-02T00:00:00"),
            Piece("JO.A..BHZ", "2024-01-02T00:00:00.05", "2024-01-03T00:00:00", quality="M"),
            Piece("JO.A..BHZ", "2024-01-03T00:00:00.05", "2024-01-04T00:00:00", quality="M", rate=40.0),
            Piece("JO.A..BHZ", "2024-01-03T12:00:00", "2024-01-05T00:00:00", quality="M", rate=40.0),
            Piece("JO.A..BHZ", "2024-01-05T00:01:00", "2024-01-06T00:00:00", quality="M", rate=40.0),
        ],
    )

    def count(parameters: str) -> int:
        rows = read_rows(client, f"net=JO&{parameters}")
        (extents,) = (
            [sum(int(row["TimeSpans"]) for row in read_rows(client, f"net=JO&{parameters}", "extent"))]
            if "gaps" not in parameters
            else [len(rows)]
        )
        assert extents == len(rows)
        return len(rows)

    assert count("") == 5
    assert count("merge=quality") == 4
    assert count("merge=quality,samplerate") == 3
    assert count("merge=overlap") == 4
    assert count("merge=overlap,quality,samplerate") == 2
    assert count("mergegaps=60") == 4
    assert count("mergegaps=59.9") == 5
    assert count("mergegaps=60&merge=overlap,quality,samplerate") == 1
    (row,) = read_rows(client, "net=JO&mergegaps=60&merge=overlap,quality,samplerate")
    assert row.keys() == {"Network", "Station", "Location", "Channel", "Earliest", "Latest"}


# Formats


def test_text_of_both_services_is_read(client: FlaskClient) -> None:
    seiscomp = (
        "#N  S      L   C    Q   SampleRate  Earliest                     Latest                       \n"
        "GE  APE    00  BHZ  M         20.0  2024-01-02T00:00:00.019538Z  2024-01-02T00:00:01.000000Z\n"
    )
    response = query(client, "net=GE&loc=00")
    assert read_table(response.text) == read_table(seiscomp)
    header, line = response.text.splitlines()
    assert header.rstrip() == (
        "#Network Station  Location Channel  Quality SampleRate Earliest                    Latest"
    )
    assert [line.index(value) for value in ("APE", "BHZ", "20.0")] == [
        header.index(name) for name in ("Station", "Channel", "SampleRate")
    ]
    assert response.content_type == "text/plain; charset=utf-8"


def test_pandas_reads_geocsv(client: FlaskClient) -> None:
    response = query(client, "net=GE&format=geocsv", "extent")
    assert response.content_type == "text/csv; charset=utf-8"
    comments = response.text.splitlines()[:4]
    assert comments[:2] == ["#dataset: GeoCSV 2.0", "#delimiter: |"]
    units, types = (line.partition(": ")[2].split("|") for line in comments[2:])
    table = pd.read_csv(
        io.StringIO(response.text),
        sep="|",
        comment="#",
        parse_dates=["Earliest", "Latest", "Updated"],
        dtype={"Location": str},
    )
    assert len(units) == len(types) == len(table.columns) == 11
    assert list(table["TimeSpans"]) == [2, 1, 1]
    assert list(table["SampleRate"]) == [20.0, 20.0, 1.0]
    assert str(table["Earliest"][1]) == "2024-01-02 00:00:00.019538+00:00"
    assert types[5:] == ["float", "datetime", "datetime", "datetime", "integer", "string"]


def test_json_groups_spans(client: FlaskClient) -> None:
    response = query(client, "net=GE&sta=APE&format=json&show=latestupdate")
    document = json.loads(response.text)
    assert response.content_type == "application/json"
    assert (list(document), document["version"]) == (["created", "version", "datasources"], 1.0)
    first, second = document["datasources"]
    assert first == {
        "network": "GE",
        "station": "APE",
        "location": "--",
        "channel": "BHZ",
        "quality": "D",
        "samplerate": 20.0,
        "updated": "2026-01-02T00:00:00.000000Z",
        "timespans": [
            ["2024-01-01T00:00:00.000000Z", "2024-01-02T12:00:00.000000Z"],
            ["2024-01-02T13:00:00.000000Z", "2024-01-09T00:00:00.000000Z"],
        ],
    }
    assert len(second["timespans"]) == 1
    (extent,) = json.loads(query(client, "net=GE&loc=00&format=json&merge=quality", "extent").text)["datasources"]
    assert list(extent) == [
        *("network", "station", "location", "channel", "samplerate"),
        *("earliest", "latest", "timespanCount", "updated", "restriction"),
    ]


# Status


def test_nothing_found(client: FlaskClient) -> None:
    assert query(client, "net=QQ").status_code == 204
    response = query(client, "net=QQ&nodata=404")
    assert read_error(response.text)["status"] == "404"
    assert client.post(f"{AVAILABILITY}/query", data="nodata=404\nQQ * * *").status_code == 404


BAD_QUERIES = [
    ("", "nothing is selected"),
    ("start=2024-01-01&end=2024-01-02", "network=*"),
    ("format=json", "nothing is selected"),
    ("net=GE&net=GE", "network is there twice"),
    ("net=GE&network=GE", "network is there twice"),
    ("net=GE;DROP", "network=GE;DROP"),
    ("net=", "network="),
    ("loc=&net=GE", "-- for an empty one"),
    ("sta=ABCDEFGHIJKLM", "at most 12"),
    ("net=GE&start=yesterday", "starttime=yesterday"),
    ("net=GE&start=2024-02-30", "there is no such time"),
    ("net=GE&start=2024-01-02&end=2024-01-01", "is before"),
    ("net=GE&quality=best", "quality=best"),
    ("net=GE&merge=all", "merge=all"),
    ("net=GE&orderby=timespancount", "orderby=timespancount"),
    ("net=GE&format=xml", "format=xml"),
    ("net=GE&nodata=200", "nodata=200"),
    ("net=GE&limit=0", "limit=0"),
    ("net=GE&mergegaps=-1", "mergegaps=-1"),
    ("net=GE&mergegaps=nan", "mergegaps=nan"),
    ("net=GE&mergegaps=1e11", "mergegaps=1e11"),
    ("net=GE&includerestricted=maybe", "true or false"),
    ("net=GE&colour=red", "no such parameter"),
]


@ON_ONE_STORE
def test_bad_request_is_explained(client: FlaskClient) -> None:
    for parameters, named in BAD_QUERIES:
        response = query(client, parameters)
        error = read_error(response.text)
        assert (response.status_code, error["status"], error["phrase"]) == (400, "400", "Bad Request"), parameters
        assert named in error["detail"]
        assert error["request"].startswith(f"http://localhost{AVAILABILITY}/query")
        assert (error["version"], response.content_type) == ("1.0.0", "text/plain; charset=utf-8")


BAD_BODIES = [
    (b"", "nothing is selected"),
    (b"format=json\n", "nothing is selected"),
    (b"GE APE BHZ\n", "line 1 has 3 fields"),
    (b"nodata=404\nGE APE -- BHZ 2024-01-01\n", "line 2 has 5 fields"),
    (b"GE APE -- BHZ x y\n", "line 1: starttime=x"),
    (b"net=GE\nGE APE -- BHZ\n", "Write NET STA LOC CHA"),
    (b"GE * * *\n" * 10_001, "10,000"),
    (b"\xff", "UTF-8"),
]


@ON_ONE_STORE
def test_bad_body_is_explained(client: FlaskClient) -> None:
    for body, named in BAD_BODIES:
        response = client.post(f"{AVAILABILITY}/query", data=body)
        assert (response.status_code, named in read_error(response.text)["detail"]) == (400, True), response.text


@ON_ONE_STORE
def test_other_errors_are_fdsn_text(client: FlaskClient) -> None:
    gaps = query(client, "net=GE&mergegaps=1", "extent")
    assert "mergegaps" in read_error(gaps.text)["detail"]
    for response, status in (
        (client.get(f"{AVAILABILITY}/none"), 404),
        (client.put(f"{AVAILABILITY}/query"), 405),
        (client.post(f"{AVAILABILITY}/query?format=json", data="GE * * *"), 400),
        (client.post(f"{AVAILABILITY}/query", data=b"#" * (1 << 21)), 413),
    ):
        assert (response.status_code, read_error(response.text)["status"]) == (status, str(status))


def test_too_many_rows_are_413(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "eida_stats_webservice.archive.availability"
    monkeypatch.setattr(f"{place}.repository.MAX_ROWS", 3)
    assert query(client, "net=GE&sta=APE").status_code == 200
    for response in (
        query(client, "net=GE"),
        client.post(f"{AVAILABILITY}/query", data="GE * * *\nZ3 * * *"),
        query(client, "net=GE&merge=quality", "extent"),
    ):
        assert (response.status_code, "3 spans" in read_error(response.text)["detail"]) == (413, True)
    # Extents are summed up in the database.
    assert query(client, "net=GE", "extent").status_code == 200
    monkeypatch.setattr(f"{place}.rows.MAX_SORTED", 2)
    assert query(client, "net=GE&sta=APE&orderby=latestupdate").status_code == 413
    assert query(client, "net=GE&sta=APE&orderby=latestupdate&limit=2").status_code == 200


# Caches and pages


def test_etag_changes_with_the_shards_queried(client: FlaskClient, store: Store) -> None:
    add_shard(store, "NOA", "noa", Piece("HL.A..BHZ", "2024-01-01T00:00:00", "2024-01-02T00:00:00"))
    response = query(client, "net=GE")
    etag = response.headers["ETag"]
    assert response.headers["Cache-Control"] == "no-cache"

    def ask() -> int:
        return client.get(f"{AVAILABILITY}/query?net=GE", headers={"If-None-Match": etag}).status_code

    assert ask() == 304
    add_pieces(store, "noa", [Piece("HL.A..BHZ", "2024-01-03T00:00:00", "2024-01-04T00:00:00")])
    assert ask() == 304
    add_pieces(store, "gfz", [Piece("GE.NEW..BHZ", "2024-01-03T00:00:00", "2024-01-04T00:00:00")])
    assert ask() == 200
    etag = query(client, "net=GE").headers["ETag"]
    assert ask() == 304
    store.registry.set_network_policy("GFZ", "XX", inverted=False)
    assert ask() == 304
    store.registry.set_node_policy("GFZ", restricted=True)
    assert ask() == 204


@ON_ONE_STORE
def test_pages_of_other_sites_may_read(client: FlaskClient) -> None:
    response = client.get(f"{AVAILABILITY}/query?net=GE", headers={"Origin": "https://page.example"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Incomplete" in response.headers["Access-Control-Expose-Headers"]


@ON_ONE_STORE
def test_version_is_that_of_the_specification(client: FlaskClient) -> None:
    assert client.get(f"{AVAILABILITY}/version").text == "1.0.0\n"


@ON_ONE_STORE
@pytest.mark.parametrize("service_settings", [{"availability_prefix": ""}])
def test_service_can_be_left_out(client: FlaskClient) -> None:
    assert client.get(f"{AVAILABILITY}/version").status_code == 404


@ON_ONE_STORE
@pytest.mark.parametrize("service_settings", [{"availability_prefix": "/data/availability/1"}])
def test_prefix_is_configured(client: FlaskClient) -> None:
    assert client.get("/data/availability/1/query?net=GE").status_code == 200
