"""Delivery of an aggregate file: what is sent, what is tried again, and what an answer means."""

import gzip
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3.util import Retry

from eida_statistics.errors import NotDelivered, PayloadRefused
from eida_stats_aggregator.submit import send
from stubs import Answer, answering, nobody_there, problem

TOKEN = "a-token-of-the-node"
BODY = b'{"stats": []}'


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "get_backoff_time", lambda _: 0)


@pytest.fixture
def aggregate(tmp_path: Path) -> Path:
    path = tmp_path / "2020-09-18_2020-09-18.json.gz"
    path.write_bytes(gzip.compress(BODY))
    return path


def test_the_file_goes_compressed_with_the_token_under_both_names(aggregate: Path) -> None:
    with answering(Answer(201, b"{}")) as stub:
        assert send(aggregate, f"{stub.url}/submit?x=1", TOKEN, retries=2) == "201 Created"
        (request,) = stub.received
    assert (request.method, request.path) == ("POST", "/submit?x=1")
    assert request.body == aggregate.read_bytes()
    assert request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["authentication"] == f"Bearer {TOKEN}"
    assert request.headers["user-agent"].startswith("eida-statistics/")


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_is_a_delivery(status: int, aggregate: Path) -> None:
    with answering(Answer(status)) as stub:
        assert send(aggregate, stub.url, TOKEN, retries=0).startswith(str(status))


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("first", [0, 429, 500, 502, 503, 504, 507])
def test_what_may_pass_is_tried_again(first: int, correction: bool, aggregate: Path) -> None:
    """A status of 0 stands for a connection that is lost."""
    with answering(Answer(first), Answer(first), Answer(201)) as stub:
        assert send(aggregate, stub.url, TOKEN, retries=2, correction=correction) == "201 Created"
        assert [request.body for request in stub.received] == [aggregate.read_bytes()] * 3
        assert {request.method for request in stub.received} == {"PUT" if correction else "POST"}


@pytest.mark.parametrize("status", [0, 429, 503])
def test_trying_again_has_an_end(status: int, aggregate: Path) -> None:
    with answering(Answer(status)) as stub:
        with pytest.raises(NotDelivered):
            send(aggregate, stub.url, TOKEN, retries=2)
        assert len(stub.received) == 3


def test_the_service_says_how_long_to_wait(aggregate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with answering(Answer(503, headers={"Retry-After": "17"}), Answer(201)) as stub:
        send(aggregate, stub.url, TOKEN, retries=2)
    assert pauses == [17]


def test_an_absurd_pause_is_not_waited_for(aggregate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with answering(Answer(503, headers={"Retry-After": "86400"}), Answer(201)) as stub:
        send(aggregate, stub.url, TOKEN, retries=2)
    assert max(pauses, default=0) <= 120


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch, aggregate: Path) -> None:
    monkeypatch.undo()
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with answering(Answer(503)) as stub, pytest.raises(NotDelivered):
        send(aggregate, stub.url, TOKEN, retries=10)
    assert pauses == sorted(pauses)
    assert len(set(pauses)) > 1
    assert max(pauses) == 120


@pytest.mark.parametrize("status", [400, 404, 413, 415, 422])
def test_a_payload_that_is_refused_is_not_tried_again(status: int, aggregate: Path) -> None:
    with answering(problem(status, "invalid-payload", "The payload has bad fields")) as stub:
        with pytest.raises(PayloadRefused, match=rf"{status}.*The payload has bad fields A detail"):
            send(aggregate, stub.url, TOKEN, retries=2)
        assert len(stub.received) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_refused_is_not_tried_again(status: int, aggregate: Path) -> None:
    with answering(problem(status, "refused-token")) as stub:
        with pytest.raises(NotDelivered, match="Check the token") as refusal:
            send(aggregate, stub.url, TOKEN, retries=2)
        # other files would fare no better, so this is not about the one payload
        assert not isinstance(refusal.value, PayloadRefused)
        assert len(stub.received) == 1


@pytest.mark.parametrize(
    "answer",
    [
        problem(409, "duplicate"),
        Answer(409, b'{"type": "https://example.org/problems/duplicate"}'),
        Answer(409, b'{"type": "https://example.org/problems#duplicate"}'),
        # old services give no type
        Answer(409, b"Statistics already received"),
        Answer(409, b'{"message": "payload known"}'),
        Answer(409, b'"known"'),
        Answer(409, b""),
        Answer(409, b"\xff"),
    ],
)
def test_statistics_that_the_service_has_are_delivered(answer: Answer, aggregate: Path) -> None:
    with answering(answer) as stub:
        assert "409" in send(aggregate, stub.url, TOKEN, retries=2)
        assert len(stub.received) == 1


@pytest.mark.parametrize("name", ["node-exists", "not-duplicate", "duplicate-node", ""])
def test_a_conflict_of_another_type_is_no_delivery(name: str, aggregate: Path) -> None:
    with answering(problem(409, name)) as stub, pytest.raises(PayloadRefused, match="409"):
        send(aggregate, stub.url, TOKEN, retries=2)


@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, correction: bool, aggregate: Path) -> None:
    """A redirected POST would arrive as a GET, and its 200 would look like a delivery."""
    with answering(Answer(200)) as elsewhere:
        with (
            answering(Answer(status, headers={"Location": elsewhere.url})) as stub,
            pytest.raises(NotDelivered, match=elsewhere.url) as refusal,
        ):
            send(aggregate, stub.url, TOKEN, retries=2, correction=correction)
        assert elsewhere.received == []
    assert not isinstance(refusal.value, PayloadRefused)


@pytest.mark.parametrize("answer", [Answer(204, b""), Answer(304), Answer(206)])
def test_an_answer_that_says_nothing_is_no_delivery(answer: Answer, aggregate: Path) -> None:
    with answering(answer) as stub, pytest.raises(NotDelivered):
        send(aggregate, stub.url, TOKEN, retries=2)


@pytest.mark.parametrize(
    ("answers", "retries", "arrived"),
    [
        ([Answer(0)], 0, True),  # the connection is lost after the payload was sent
        ([Answer(504)], 0, True),  # a proxy has given up
        ([Answer(429)], 0, False),
        ([Answer(422)], 0, False),
        ([Answer(403)], 0, False),
        ([Answer(0), Answer(403)], 1, True),  # the first may have been taken in
    ],
)
def test_it_is_told_whether_what_was_sent_may_have_arrived(
    answers: list[Answer], retries: int, arrived: bool, aggregate: Path
) -> None:
    with answering(*answers) as stub, pytest.raises(NotDelivered) as failure:
        send(aggregate, stub.url, TOKEN, retries=retries)
    assert failure.value.may_have_arrived is arrived


def test_where_nobody_is_nothing_arrives(aggregate: Path) -> None:
    with pytest.raises(NotDelivered) as failure:
        send(aggregate, nobody_there(), TOKEN, retries=1)
    assert failure.value.may_have_arrived is False


def test_a_web_page_is_no_delivery(aggregate: Path) -> None:
    with (
        answering(Answer(200, b"<!doctype html><title>Welcome</title>")) as stub,
        pytest.raises(NotDelivered, match="web page"),
    ):
        send(aggregate, stub.url, TOKEN, retries=0)


def test_nobody_there_is_no_delivery(aggregate: Path) -> None:
    with pytest.raises(NotDelivered, match="no connection"):
        send(aggregate, nobody_there(), TOKEN, retries=1)


def test_a_url_that_is_none_is_no_delivery(aggregate: Path) -> None:
    with pytest.raises(NotDelivered):
        send(aggregate, "http://", TOKEN, retries=0)


def test_a_password_file_does_not_replace_the_token(
    aggregate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with answering(Answer(201)) as stub:
        send(aggregate, stub.url, TOKEN, retries=2)
        assert stub.received[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_service_that_quotes_the_token_does_not_bring_it_into_a_message(status: int, aggregate: Path) -> None:
    quoting: list[Any] = [
        Answer(status, f"no such token: {TOKEN}".encode()),
        Answer(status, json.dumps({"type": "x", "title": "Bad", "detail": f"Bearer {TOKEN}"}).encode()),
    ]
    for answer in quoting:
        with answering(answer) as stub, pytest.raises(NotDelivered) as refusal:
            send(aggregate, stub.url, TOKEN, retries=0)
        assert TOKEN not in str(refusal.value)


def test_nor_into_what_is_said_of_a_redirect_or_a_receipt(aggregate: Path) -> None:
    elsewhere = Answer(
        307, headers={"Location": f"https://elsewhere.example/?token={TOKEN}"}, reason=f"Go, {TOKEN}"
    )
    with answering(elsewhere) as stub, pytest.raises(NotDelivered, match="elsewhere") as refusal:
        send(aggregate, stub.url, TOKEN, retries=0)
    assert TOKEN not in str(refusal.value)
    with answering(Answer(201, reason=f"Created by {TOKEN}")) as stub:
        assert send(aggregate, stub.url, TOKEN, retries=0) == "201 Created by [token]"


def test_a_long_answer_is_cut(aggregate: Path) -> None:
    with answering(Answer(400, b"<p>\n" * 10_000)) as stub, pytest.raises(PayloadRefused) as refusal:
        send(aggregate, stub.url, TOKEN, retries=2)
    assert len(str(refusal.value)) < 1000
    assert str(refusal.value).count("\n") == 0


# Corrections


def test_a_correction_is_put_with_all_that_a_first_delivery_has(aggregate: Path) -> None:
    with answering(Answer(201)) as stub:
        assert send(aggregate, f"{stub.url}/submit", TOKEN, retries=0) == "201 Created"
        assert send(aggregate, f"{stub.url}/submit", TOKEN, retries=0, correction=True) == "201 Created"
        first, second = stub.received
    assert (first.method, second.method) == ("POST", "PUT")
    assert (second.path, second.headers, second.body) == (first.path, first.headers, first.body)


@pytest.mark.parametrize(
    ("how", "method", "asked"),
    [
        ({"correction": True, "replaces": ("a" * 32, "17")}, "PUT", {"x": ["1"], "replaces": [f"{'a' * 32},17"]}),
        ({"correction": True}, "PUT", {"x": ["1"]}),
        ({"alone": True}, "POST", {"x": ["1"], "overlap": ["refuse"]}),
        ({}, "POST", {"x": ["1"]}),
    ],
    ids=["named", "unnamed", "alone", "first"],
)
def test_what_is_replaced_is_in_the_query(
    how: dict[str, Any], method: str, asked: dict[str, list[str]], aggregate: Path
) -> None:
    with answering(Answer(201)) as stub:
        send(aggregate, f"{stub.url}/submit?x=1", TOKEN, retries=0, **how)
        (request,) = stub.received
    assert (request.method, parse_qs(urlsplit(request.path).query)) == (method, asked)


def test_what_has_become_of_other_payloads_is_told(aggregate: Path) -> None:
    days = [{"payload": number, "days": ["2020-09-18"]} for number in range(3, 10)]
    shown = [f"payload {number} of 2020-09-18" for number in range(3, 8)]
    for receipt, told in (
        ({"supersedes": [599, 600]}, ", supersedes 599, 600"),
        ({"overlaps": days[:1]}, ", counts beside payload 3 of 2020-09-18"),
        (
            {"overlaps": [{"payload": 3, "days": ["2020-09-17", "2020-09-18"]}], "supersedes": [2]},
            ", supersedes 2, counts beside payload 3 of 2020-09-17 to 2020-09-18",
        ),
        ({"overlaps": days}, f", counts beside {', '.join(shown)} and 2 more"),
        ({"payload": 4, "supersedes": [], "overlaps": []}, ""),
        ({"supersedes": "all", "overlaps": [{"payload": 3, "days": []}]}, ""),
        (["a list"], ""),
    ):
        with answering(Answer(201, json.dumps(receipt).encode())) as stub:
            assert send(aggregate, stub.url, TOKEN, retries=0, correction=True) == f"201 Created{told}"


@pytest.mark.parametrize(
    ("name", "how"),
    [("ambiguous-replacement", {"correction": True}), ("overlapping-payload", {"alone": True})],
)
def test_a_conflict_is_told_with_payloads_and_days_and_what_can_be_chosen(
    name: str, how: dict[str, Any], aggregate: Path
) -> None:
    aggregate.write_bytes(gzip.compress(b'{"days_coverage": ["2020-09-18", "2020-09-19"], "stats": []}'))
    day = {"payload": 599, "days": ["2020-09-18"]}
    month = {"payload": 3, "days": [f"2020-09-{day:02}" for day in range(1, 31)]}
    for payloads, told, larger in (
        ([day], "payload 599 of 2020-09-18, for the same days", False),
        ([day, month], "payload 599 of 2020-09-18, payload 3 of 2020-09-01 to 2020-09-30, for", True),
        ("garbage", "other payloads, for the same days", False),
    ):
        body = {**json.loads(problem(409, name).body), "payloads": payloads}
        with answering(Answer(409, json.dumps(body).encode())) as stub:
            with pytest.raises(PayloadRefused, match=r"--replaces NUMBER.*without --replace,") as refusal:
                send(aggregate, stub.url, TOKEN, retries=2, **how)
            assert len(stub.received) == 1
        assert f"409 Conflict: the service has {told}" in str(refusal.value)
        assert ("Of 3 all days would be replaced" in str(refusal.value)) is larger
        assert refusal.value.may_have_arrived is False


def test_it_is_told_which_payloads_a_service_does_not_know(aggregate: Path) -> None:
    known, unknown = "a" * 32, "b" * 32
    told = {"detail": f"{unknown}, 17. Each is one of yours.", "unknown": [unknown, "17"]}
    body = {**json.loads(problem(404, "unknown-payload").body), **told}
    with answering(Answer(404, json.dumps(body).encode())) as stub:
        with pytest.raises(PayloadRefused, match=r"404.*17.*\n.*others after --replaces") as refusal:
            send(aggregate, stub.url, TOKEN, retries=2, correction=True, replaces=(known, unknown, "17"))
        assert len(stub.received) == 1
    assert refusal.value.unknown == {unknown, "17"}


@pytest.mark.parametrize("name", ["unknown-node", "nothing-found"])
def test_what_else_is_not_found_says_nothing_of_payloads(name: str, aggregate: Path) -> None:
    body = {**json.loads(problem(404, name).body), "detail": "a" * 32}
    with answering(Answer(404, json.dumps(body).encode())) as stub, pytest.raises(PayloadRefused) as refusal:
        send(aggregate, stub.url, TOKEN, retries=2, correction=True, replaces=("a" * 32,))
    assert refusal.value.unknown == ()


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_correction_that_is_taken_in_is_a_delivery(status: int, aggregate: Path) -> None:
    with answering(Answer(status)) as stub:
        assert send(aggregate, stub.url, TOKEN, retries=0, correction=True).startswith(str(status))


def test_a_correction_that_the_service_has_is_delivered(aggregate: Path) -> None:
    with answering(problem(409, "duplicate")) as stub:
        assert "409" in send(aggregate, stub.url, TOKEN, retries=0, correction=True)


@pytest.mark.parametrize(
    "answer", [problem(409, "overlap"), Answer(409, b"what comes between does not take a PUT")]
)
def test_a_correction_that_conflicts_in_another_way_is_no_delivery(answer: Answer, aggregate: Path) -> None:
    with answering(answer) as stub, pytest.raises(PayloadRefused, match="409"):
        send(aggregate, stub.url, TOKEN, retries=0, correction=True)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(405, b"<!doctype html><title>405 Method Not Allowed</title>", {"Allow": "POST, OPTIONS"}),
        Answer(501, b"Unsupported method ('PUT')"),
        problem(405, "about:blank", "Method Not Allowed"),
    ],
)
def test_a_service_that_cannot_replace_is_told_as_such_and_not_asked_again(answer: Answer, aggregate: Path) -> None:
    with answering(answer) as stub:
        with pytest.raises(PayloadRefused) as refusal:
            send(aggregate, stub.url, TOKEN, retries=5, correction=True)
        assert len(stub.received) == 1
    told = str(refusal.value)
    assert f"{aggregate.name} to {stub.url}: {answer.status}" in told
    assert "cannot replace statistics yet" in told
    assert "The correction waits" in told
    assert "<" not in told
    # What has not arrived can be corrected again.
    assert refusal.value.may_have_arrived is False


@pytest.mark.parametrize("status", [405, 501])
def test_it_is_of_corrections_only_that_a_service_may_know_nothing(status: int, aggregate: Path) -> None:
    with answering(Answer(status, b"what?")) as stub:
        with pytest.raises(NotDelivered) as refusal:
            send(aggregate, stub.url, TOKEN, retries=2)
        assert len(stub.received) == 1
    assert "cannot replace" not in str(refusal.value)
    assert f"{status} " in str(refusal.value)


@pytest.mark.parametrize(("status", "kind"), [(401, NotDelivered), (403, NotDelivered), (422, PayloadRefused)])
def test_other_refusals_of_a_correction_mean_what_they_always_mean(
    status: int, kind: type[NotDelivered], aggregate: Path
) -> None:
    with answering(problem(status, "some-reason", "Some reason")) as stub:
        with pytest.raises(NotDelivered, match="Some reason") as refusal:
            send(aggregate, stub.url, TOKEN, retries=2, correction=True)
        assert type(refusal.value) is kind
        assert len(stub.received) == 1


@pytest.mark.parametrize(
    ("answers", "retries", "arrived"),
    [
        ([Answer(0)], 0, True),
        ([Answer(504)], 0, True),
        ([Answer(429)], 0, False),
        ([Answer(405)], 0, False),
        ([Answer(501)], 0, False),
        ([Answer(429), Answer(405)], 1, False),
        ([Answer(0), Answer(405)], 1, True),  # perhaps only now something stands before it
    ],
)
def test_it_is_told_whether_a_correction_may_have_arrived(
    answers: list[Answer], retries: int, arrived: bool, aggregate: Path
) -> None:
    with answering(*answers) as stub, pytest.raises(NotDelivered) as failure:
        send(aggregate, stub.url, TOKEN, retries=retries, correction=True)
    assert failure.value.may_have_arrived is arrived
