"""The HTTP client of a service: requests, retries, and the meaning of answers."""

import datetime
import gzip
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3.util import Retry

from eida_stats_aggregator.delivery.answers import Delivered
from eida_stats_aggregator.delivery.client import ServiceClient
from eida_stats_aggregator.delivery.session import ServiceSession
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.errors import (
    DeliveryOvertaken,
    NotDelivered,
    PathUnknown,
    PayloadHeld,
    PayloadRefused,
    ReplacedUnknown,
    ServiceFault,
    ServiceSilent,
)
from support.stubs import Answer, find_unused_url, problem, serve_answers, serve_corrections, submissions

TOKEN = "a-token-of-the-node"
NAME = "2020-09-18_2020-09-18.json.gz"
BODY = gzip.compress(b'{"stats": [{}]}', mtime=0)
NEW, CORRECTION = Terms(), Terms(replace=True)
BROKEN_OFF = Answer(201, b'{"payload": ', missing=3)
DAMAGED = Answer(201, b"not gzip", {"Content-Encoding": "gzip"})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)


def submit(url: str, terms: Terms = NEW, *, retries: int = 0, empty: bool = False) -> Delivered:
    return ServiceClient(url, TOKEN, retries=retries).submit(NAME, BODY, terms, empty=empty)


def test_token_is_sent_under_both_names() -> None:
    with serve_answers(Answer(201, b"{}")) as stub:
        assert submit(f"{stub.url}/submit?x=1").answer == "201 Created"
        (request,) = stub.received
    assert (request.method, request.path) == ("POST", "/submit?x=1")
    assert request.body == BODY
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["authentication"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("eida-statistics/")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/submit"),
        ("/", "/submit"),
        ("/a/1/", "/a/1/submit"),
        ("/a/1/submit", "/a/1/submit"),
        ("/a/dataselectstats/", "/a/dataselectstats"),
    ],
)
def test_resource_is_added_to_a_base_url(path: str, asked: str) -> None:
    with serve_answers(Answer(201)) as stub:
        submit(f"{stub.url}{path}")
        assert [request.path for request in stub.received] == [asked]


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_is_a_delivery(status: int, terms: Terms) -> None:
    with serve_corrections(Answer(status)) as stub:
        assert submit(stub.url, terms).answer.startswith(str(status))


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize("first", [0, 429, 500, 502, 503, 504, 507])
def test_passing_failure_is_tried_again(first: int, terms: Terms) -> None:
    """A status of 0 stands for a connection that is lost."""
    with serve_corrections(Answer(first), Answer(first), Answer(201)) as stub:
        assert submit(stub.url, terms, retries=2).answer == "201 Created"
        assert [request.body for request in submissions(stub)] == [BODY] * 3
        assert {request.method for request in submissions(stub)} == {"PUT" if terms.replace else "POST"}


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize("answer", [BROKEN_OFF, DAMAGED])
def test_broken_off_answer_is_tried_again(answer: Answer, terms: Terms) -> None:
    """As of a worker that is killed after it has stored the payload."""
    with serve_corrections(answer, answer, problem(409, "duplicate")) as stub:
        assert submit(stub.url, terms, retries=2).stored is False
        assert [request.body for request in submissions(stub)] == [BODY] * 3
        assert {request.method for request in submissions(stub)} == {"PUT" if terms.replace else "POST"}


def test_file_is_sent_again_from_where_it_began(tmp_path: Path) -> None:
    """Also if the answer breaks off."""
    crawl = tmp_path / "crawl"
    crawl.write_bytes(b"a head, and " + BODY)
    answers = [Answer(0), BROKEN_OFF, Answer(503), BROKEN_OFF, Answer(200)]
    with serve_answers(*answers) as stub, crawl.open("rb") as file:
        file.seek(len(b"a head, and "))
        ServiceSession(TOKEN, retries=4).request("PUT", stub.url, body=file)
        assert [request.body for request in stub.received] == [BODY] * 5


@pytest.mark.parametrize(
    "answers",
    [
        *([answer] for answer in (Answer(0), Answer(429), Answer(503), BROKEN_OFF, DAMAGED)),
        [Answer(0), BROKEN_OFF, Answer(503)],
        [Answer(503), BROKEN_OFF],
        [BROKEN_OFF, Answer(0), DAMAGED],
    ],
)
def test_trying_again_has_an_end(answers: list[Answer]) -> None:
    with serve_answers(*answers) as stub:
        with pytest.raises(NotDelivered):
            submit(stub.url, retries=2)
        assert len(stub.received) == 3


def test_service_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    for seconds in ("17", "86400"):
        with serve_answers(Answer(503, headers={"Retry-After": seconds}), Answer(201)) as stub:
            submit(stub.url, retries=2)
    # An absurd pause is not waited for.
    assert pauses[0] == 17
    assert max(pauses) <= 120


@pytest.mark.parametrize("answer", [Answer(503), BROKEN_OFF])
def test_pauses_grow(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with serve_answers(answer) as stub, pytest.raises(NotDelivered):
        submit(stub.url, retries=10)
    assert pauses == sorted(pauses)
    assert len(set(pauses)) > 1
    assert max(pauses) == 120


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(400, "bad-parameter"), PayloadRefused),
        (problem(413, "too-large"), PayloadRefused),
        (problem(422, "invalid-payload"), PayloadRefused),
        (problem(409, "node-exists"), PayloadRefused),
        (problem(409, "duplicate-node"), PayloadRefused),
        (problem(409, "overtaken"), DeliveryOvertaken),
        (problem(404, "about:blank"), PathUnknown),
        (Answer(404, b"<p>Not Found</p>"), PathUnknown),
        (Answer(405, b"what?"), PathUnknown),
        (problem(401, "missing-token"), NotDelivered),
        (problem(403, "expired-token"), NotDelivered),
        (Answer(501, b"what?"), ServiceFault),
        (Answer(204, b""), ServiceFault),
    ],
)
def test_refusal_is_not_tried_again(answer: Answer, kind: type[NotDelivered]) -> None:
    with serve_answers(answer) as stub:
        with pytest.raises(NotDelivered) as refusal:
            submit(stub.url, retries=2)
        assert len(stub.received) == 1
    assert type(refusal.value) is kind
    assert str(answer.status) in str(refusal.value)
    assert "<" not in str(refusal.value)
    if answer.body.startswith(b'{"type"'):
        assert "A title: A detail" in str(refusal.value)


def test_wrong_path_is_named() -> None:
    with serve_answers(Answer(404)) as stub, pytest.raises(PathUnknown, match=f"{stub.url}/eidaws/submit"):
        submit(f"{stub.url}/eidaws")


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (Answer(409, b'{"type": "urn:eida-statistics:problem:duplicate", "payload": 12}'), 12),
        (problem(409, "duplicate"), None),
        (Answer(409, b'{"type": "https://example.org/problems/duplicate"}'), None),
        (Answer(409, b'{"type": "https://example.org/problems#duplicate"}'), None),
        # Old services have no type.
        (Answer(409, b"Statistics already received"), None),
        (Answer(409, b'{"message": "payload known"}'), None),
        (Answer(409, b'"known"'), None),
        (Answer(409, b""), None),
        (Answer(409, b"\xff"), None),
        # The deployed service.
        (Answer(400, b"This statistic already exists on the server. Refusing to merge"), None),
    ],
)
def test_duplicate_is_a_delivery(answer: Answer, number: int | None) -> None:
    with serve_answers(answer) as stub:
        assert submit(stub.url, retries=2).payload == number
        assert len(stub.received) == 1


@pytest.mark.parametrize(
    "answer", [Answer(400, b"Malformed payload"), Answer(400, b"Data can not be parsed as JSON format")]
)
def test_other_400_is_a_refusal(answer: Answer) -> None:
    with serve_answers(answer) as stub, pytest.raises(PayloadRefused):
        submit(stub.url)


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status: int, terms: Terms) -> None:
    """A redirected POST would arrive as a GET, and its 200 would look like a delivery."""
    with serve_answers(Answer(200)) as elsewhere:
        with (
            serve_corrections(Answer(status, headers={"Location": elsewhere.url})) as stub,
            pytest.raises(NotDelivered, match=elsewhere.url) as refusal,
        ):
            submit(stub.url, terms, retries=2)
        assert elsewhere.received == []
    assert type(refusal.value) is NotDelivered


@pytest.mark.parametrize("terms", [NEW, CORRECTION])
@pytest.mark.parametrize(
    ("answers", "retries", "arrived"),
    [
        ([Answer(0)], 0, True),  # the connection is lost after the payload was sent
        ([BROKEN_OFF], 0, True),
        ([BROKEN_OFF], 1, True),
        ([Answer(429, missing=3)], 1, False),
        ([DAMAGED], 0, True),
        ([BROKEN_OFF, Answer(403)], 1, True),
        ([Answer(504)], 0, True),  # a proxy has stopped waiting
        ([Answer(429)], 0, False),
        ([Answer(422)], 0, False),
        ([Answer(403)], 0, False),
        ([Answer(405)], 0, False),
        ([Answer(501)], 0, False),
        ([problem(409, "overlapping-payload")], 0, False),
        ([Answer(429), Answer(405)], 1, False),
        ([Answer(0), Answer(403)], 1, True),  # the first may have been stored
    ],
)
def test_failure_says_whether_it_may_have_arrived(
    answers: list[Answer], retries: int, arrived: bool, terms: Terms
) -> None:
    with serve_corrections(*answers) as stub, pytest.raises(NotDelivered) as failure:
        submit(stub.url, terms, retries=retries)
    assert failure.value.may_have_arrived is arrived


def test_web_page_is_no_delivery() -> None:
    with (
        serve_answers(Answer(200, b"<!doctype html><title>Welcome</title>")) as stub,
        pytest.raises(NotDelivered, match="web page"),
    ):
        submit(stub.url)


def test_netrc_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with serve_answers(Answer(201)) as stub:
        submit(stub.url)
        assert stub.received[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(status, f"no such token: {TOKEN}".encode()) for status in (400, 403, 500)),
        *(
            Answer(status, json.dumps({"type": "x", "title": "Bad", "detail": f"Bearer {TOKEN}"}).encode())
            for status in (400, 403, 500)
        ),
        Answer(307, headers={"Location": f"https://elsewhere.example/?token={TOKEN}"}, reason=f"Go, {TOKEN}"),
    ],
)
def test_quoted_token_is_hidden(answer: Answer) -> None:
    with serve_answers(answer) as stub, pytest.raises(NotDelivered) as refusal:
        submit(stub.url)
    assert TOKEN not in str(refusal.value)


def test_token_in_a_reason_is_hidden() -> None:
    with serve_answers(Answer(201, reason=f"Created by {TOKEN}")) as stub:
        assert submit(stub.url).answer == "201 Created by [token]"


def test_long_answer_is_cut() -> None:
    with serve_answers(Answer(400, b"long\n" * 10_000)) as stub, pytest.raises(PayloadRefused) as refusal:
        submit(stub.url)
    assert len(str(refusal.value)) < 1000
    assert str(refusal.value).count("\n") == 0


# Corrections, and the limits of deployed services


@pytest.mark.parametrize(
    ("terms", "method", "query"),
    [
        (NEW, "POST", {}),
        (CORRECTION, "PUT", {}),
        (Terms(replace=True, replaces=("3", "17")), "PUT", {"replaces": ["3,17"]}),
        (Terms(beside=True), "POST", {"overlap": ["accept"]}),
        (Terms(replace=True, beside=True), "PUT", {"overlap": ["accept"]}),
    ],
)
def test_terms_are_in_the_request(terms: Terms, method: str, query: dict[str, list[str]]) -> None:
    with serve_corrections(Answer(201)) as stub:
        submit(f"{stub.url}/submit?x=1", terms)
        (request,) = submissions(stub)
    assert (request.method, parse_qs(urlsplit(request.path).query)) == (method, {"x": ["1"], **query})


DEPLOYED = [Answer(404, b"404 Not Found"), Answer(200, b"<p>Welcome</p>"), Answer(403, b""), Answer(200, b"")]


@pytest.mark.parametrize(("terms", "empty"), [(CORRECTION, False), (NEW, True)])
@pytest.mark.parametrize("version", DEPLOYED)
def test_deployed_service_gets_no_put_or_empty(version: Answer, terms: Terms, empty: bool) -> None:
    """It would overwrite the rows of a month with those of a day, or fail."""
    with serve_corrections(Answer(200, b"Statistic successfully ingested to database!"), version=version) as stub:
        client = ServiceClient(stub.url, TOKEN, retries=0)
        with pytest.raises(PayloadRefused, match="which waits"):
            client.submit(NAME, BODY, terms, empty=empty)
        assert submissions(stub) == []
        assert client.submit(NAME, BODY, NEW, empty=False).payload is None
        assert len(submissions(stub)) == 1


def test_receipt_shows_that_a_service_corrects() -> None:
    receipt = json.dumps({"payload": 3, "hash": "0" * 32}).encode()
    with serve_corrections(Answer(201, receipt), version=Answer(404)) as stub:
        client = ServiceClient(stub.url, TOKEN, retries=0)
        client.submit(NAME, BODY, NEW, empty=False)
        client.submit(NAME, BODY, CORRECTION, empty=True)
        assert [request.method for request in stub.received] == ["POST", "PUT"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_service_that_is_silent_gets_no_correction(status: int) -> None:
    with serve_corrections(Answer(201), version=Answer(status)) as stub:
        with pytest.raises(ServiceSilent, match="version"):
            submit(stub.url, CORRECTION)
        assert submissions(stub) == []


def test_proxy_without_put_is_named() -> None:
    with (
        serve_corrections(Answer(405, b"<h1>405 Not Allowed</h1>")) as stub,
        pytest.raises(PayloadRefused, match="PUT"),
    ):
        submit(stub.url, CORRECTION)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(200, b'{"payloads": []}'), (set(), set())),
        (Answer(200, b'{"payloads": [{"payload": 1}]}'), ({1}, {1})),
        (Answer(200, b'{"payloads": [{"payload": 1, "source": "b"}]}'), ({1}, {1})),
        (Answer(200, b'{"payloads": [{"payload": 1, "source": "a"}]}'), ({1}, set())),
        (Answer(200, b'{"payloads": [{"payload": 1, "kind": "ringserver", "source": "b"}]}'), (set(), set())),
        (Answer(404), (None, None)),
        (Answer(405), (None, None)),
        (Answer(200, b"<p>Welcome</p>"), (None, None)),
    ],
)
def test_payloads_of_a_source_are_listed(answer: Answer, expected: tuple[set[int] | None, ...]) -> None:
    with serve_answers(answer) as stub:
        client = ServiceClient(stub.url, TOKEN, retries=0)
        assert (client.list_payloads(""), client.list_payloads("b")) == expected
        assert stub.received[0].path == "/payloads"


def test_payloads_of_the_own_kind_are_listed() -> None:
    listed = b'{"payloads": [{"payload": 1}, {"payload": 2, "kind": "ringserver", "source": "b"}]}'
    with serve_answers(Answer(200, listed)) as stub:
        client = ServiceClient(stub.url, TOKEN, retries=0, kind="ringserver")
        assert (client.list_payloads("b"), client.list_payloads("a")) == ({2}, set())


@pytest.mark.parametrize("status", [401, 403, 500])
def test_unanswered_question_is_an_error(status: int) -> None:
    with serve_answers(Answer(status)) as stub, pytest.raises(ServiceSilent, match=str(status)):
        ServiceClient(stub.url, TOKEN, retries=0).list_payloads("")


def other(number: int, **more: Any) -> dict[str, Any]:
    return {"payload": number, "hash": "0" * 32, "source": "", "period": None, "days": ["2020-09-18"], **more}


MONTH = {"start": "2020-09-01", "end": "2020-09-30"}


@pytest.mark.parametrize(
    ("receipt", "text"),
    [
        ({"supersedes": [599, 600]}, ", supersedes 599, 600"),
        ({"payload": 7, "overlaps": [other(3)]}, ", payload 7, counts beside payload 3 for 2020-09-18"),
        (
            {"overlaps": [other(3, period=MONTH, source="b")], "supersedes": [2]},
            ", supersedes 2, counts beside payload 3 of source b for 2020-09-01 to 2020-09-30",
        ),
        (
            {"overlaps": [other(number) for number in range(3, 10)]},
            ", counts beside "
            + ", ".join(f"payload {number} for 2020-09-18" for number in range(3, 8))
            + " and 2 more",
        ),
        ({"payload": 4, "supersedes": [], "overlaps": []}, ", payload 4"),
        ({"supersedes": "all"}, ""),
        (["a list"], ""),
    ],
)
def test_receipt_names_other_payloads(receipt: object, text: str) -> None:
    with serve_corrections(Answer(201, json.dumps(receipt).encode())) as stub:
        assert submit(stub.url, CORRECTION).answer == f"201 Created{text}"


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ([other(599)], "payload 599 for 2020-09-18"),
        ([other(3, period=MONTH), other(4)], "payload 3 for 2020-09-01 to 2020-09-30, payload 4 for 2020-09-18"),
        ("garbage", "other payloads"),
    ],
)
@pytest.mark.parametrize("name", ["ambiguous-replacement", "overlapping-payload"])
def test_conflict_names_payloads_and_choices(name: str, payloads: object, text: str) -> None:
    body = {"type": f"urn:eida-statistics:problem:{name}", "payloads": payloads}
    with serve_answers(Answer(409, json.dumps(body).encode())) as stub:
        with pytest.raises(PayloadHeld, match=r"(?s)--replace\..*\n.*--replaces .*\n.*--beside") as refusal:
            submit(stub.url, retries=2)
        assert len(stub.received) == 1
    assert f"409 Conflict: the service has {text}" in str(refusal.value)
    assert refusal.value.may_have_arrived is False


def test_choices_of_the_service_are_quoted() -> None:
    body = {"type": "urn:x:overlapping-payload", "payloads": [other(1)], "choices": ["Do this.", "Or  that."]}
    with serve_answers(Answer(409, json.dumps(body).encode())) as stub, pytest.raises(PayloadHeld) as refusal:
        submit(stub.url)
    assert refusal.value.hint.endswith(":\n  Do this.\n  Or that.")


def test_about_blank_problem_is_not_quoted() -> None:
    body = {"type": "about:blank", "title": "Not Found", "detail": "The requested URL was not found on the server."}
    with serve_answers(Answer(404, json.dumps(body).encode())) as stub, pytest.raises(PathUnknown) as failure:
        submit(stub.url)
    assert failure.value.subject == f"{NAME} to {stub.url}/submit: 404 Not Found"


def test_unknown_payload_needs_a_decision() -> None:
    for status in (404, 409):
        with serve_corrections(problem(status, "unknown-payload")) as stub, pytest.raises(ReplacedUnknown):
            submit(stub.url, Terms(replace=True, replaces=("17",)))


def test_validity_of_the_token_is_read() -> None:
    for status in (201, 409):
        with serve_answers(Answer(status, headers={"Token-Valid-Until": "2027-11-25T00:00:00Z"})) as stub:
            client = ServiceClient(stub.url, TOKEN, retries=0)
            client.submit(NAME, BODY, NEW, empty=False)
            assert client.token_valid_until == datetime.datetime(2027, 11, 25, tzinfo=datetime.UTC)
    for text in ("tomorrow", "", "2027-11-25T00:00:00"):
        with serve_answers(Answer(201, headers={"Token-Valid-Until": text})) as stub:
            client = ServiceClient(stub.url, TOKEN, retries=0)
            client.submit(NAME, BODY, NEW, empty=False)
            assert client.token_valid_until is None


# Faults of URLs


def test_refused_connection_is_named() -> None:
    with pytest.raises(NotDelivered, match="connection refused") as failure:
        submit(find_unused_url(), retries=1)
    assert failure.value.may_have_arrived is False


@pytest.mark.parametrize(
    ("answer", "cause"), [(BROKEN_OFF, "the answer broke off"), (DAMAGED, "the answer cannot be decompressed")]
)
def test_damaged_answer_is_named(answer: Answer, cause: str) -> None:
    with serve_answers(answer) as stub, pytest.raises(NotDelivered) as failure:
        submit(stub.url, retries=1)
    assert failure.value.subject == f"{stub.url}/submit: {cause}"
    assert not failure.value.hint


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\n"])
def test_service_that_does_not_answer_in_time_is_named(head: bytes, retries: int) -> None:
    arrived: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as service:

        def answer_partly() -> list[socket.socket]:
            connections = []
            for _ in range(retries + 1):
                connections.append(server.accept()[0])
                connections[-1].sendall(head)
            return connections

        answering = service.submit(answer_partly)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotDelivered, match=f": {url}: no answer in time$"):
            ServiceSession(TOKEN, retries=retries).request("GET", url, may_have_arrived=arrived, timeout=(1, 1))
        for connection in answering.result():
            connection.close()
    assert arrived == [True] * (retries + 1)


def test_unknown_host_is_named() -> None:
    with pytest.raises(NotDelivered, match="cannot be resolved"):
        submit("http://nobody.invalid/submit")


@pytest.fixture
def tls_url(tmp_path: Path) -> Iterator[str]:
    """Serve TLS with a certificate that nobody has signed."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_untrusted_certificate_is_named(tls_url: str) -> None:
    with pytest.raises(NotDelivered, match=r"(?s)not trusted.*REQUESTS_CA_BUNDLE"):
        submit(tls_url)


def test_plain_http_to_a_tls_port_is_named(tls_url: str) -> None:
    with pytest.raises(NotDelivered, match="use https"):
        submit(tls_url.replace("https", "http"))


def test_tls_to_a_plain_port_is_named() -> None:
    with serve_answers(Answer(201)) as stub, pytest.raises(NotDelivered, match="does not speak TLS"):
        submit(stub.url.replace("http", "https"))


@pytest.mark.parametrize("make_url", [lambda: "http://"])
def test_impossible_url_is_no_delivery(make_url: Callable[[], str]) -> None:
    with pytest.raises(NotDelivered):
        submit(make_url())
