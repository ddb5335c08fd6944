"""Delivery of an aggregate file to a central service, over HTTP."""

import datetime
import gzip
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError
from urllib3.util import Retry

from eida_statistics import __version__
from eida_statistics.errors import NotDelivered, PayloadRefused

# A service that has 100,000 rows to store may take a while to answer.
TIMEOUT_SECONDS = (30, 600)
_LONGEST_WAIT_SECONDS = 120
_ANSWER_CHARACTERS = 500
_HIDDEN = "[token]"
_OVERLAPS_SHOWN = 5
_CONFLICTS = {"ambiguous-replacement", "overlapping-payload"}


class _PayloadDays(msgspec.Struct):
    payload: int
    days: Annotated[list[datetime.date], msgspec.Meta(min_length=1)]

    def __str__(self) -> str:
        first, last = min(self.days), max(self.days)
        return f"payload {self.payload} of {first}" + (f" to {last}" if first != last else "")


class _Receipt(msgspec.Struct):
    """What a service says of other payloads where it has taken one in."""

    supersedes: list[int] = []
    overlaps: list[_PayloadDays] = []


class _Conflict(msgspec.Struct):
    """With which payloads one is in conflict, and all their days."""

    payloads: list[_PayloadDays] = []


class _Covered(msgspec.Struct):
    days_coverage: list[datetime.date] = []


class _Problem(msgspec.Struct):
    type: str | None = None
    title: str | None = None
    detail: str | None = None
    unknown: list[str] = []

    @property
    def name(self) -> str:
        """The last part of the type, by which services agree on it."""
        return re.split(r"[:/#]", self.type or "")[-1]


class _BearerToken(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        # The name under which deployed services look for it.
        request.headers["Authentication"] = f"Bearer {self._token}"
        return request


def send(
    path: Path,
    url: str,
    token: str,
    *,
    retries: int,
    correction: bool = False,
    replaces: Collection[str] = (),
    alone: bool = False,
) -> str:
    """Post an aggregate file and give what the service answered; PUT a correction, which replaces.

    A correction names what it replaces, by hash or number, if that is known: a node with several servers has others
    for the same days. What is to be counted `alone` is refused if there are others.

    Connection errors, 429 and 5xx but 501 are tried again, with growing pauses or those that the service asks
    for. A 409 that says duplicate is a delivery: the service has these statistics.

    Raises:
        NotDelivered: if the service cannot be reached, or refuses the token: other files would fare no better.
        PayloadRefused: if it refuses this payload.
    """
    body = path.read_bytes()
    with requests.Session() as session:
        may_have_arrived: list[bool] = []
        session.mount("http://", _adapter(retries, may_have_arrived))
        session.mount("https://", _adapter(retries, may_have_arrived))
        session.auth = _BearerToken(token)
        session.headers["User-Agent"] = f"eida-statistics/{__version__}"
        session.headers["Content-Type"] = "application/json"
        session.headers["Content-Encoding"] = "gzip"
        try:
            method = "PUT" if correction else "POST"
            parameters = {"replaces": ",".join(replaces)} if replaces else {"overlap": "refuse"} if alone else {}
            # A redirected POST would arrive as a GET, and its 200 would look like a delivery.
            answer = session.request(
                method,
                url,
                params=parameters,
                data=body,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise NotDelivered(f"{url}: {_reason(error)}", may_have_arrived=any(may_have_arrived)) from error
    try:
        return _judged(path, url, answer, token, correction=correction, replaces=replaces)
    except NotDelivered as failure:
        failure.may_have_arrived |= any(may_have_arrived)
        raise


class _Retry(Retry):
    # Otherwise a 413 would be tried again, too, where it asks for that.
    RETRY_AFTER_STATUS_CODES = frozenset({429, 503})

    def __init__(self, *args: Any, may_have_arrived: list[bool], **options: Any) -> None:
        super().__init__(*args, **options)
        self._may_have_arrived = may_have_arrived

    def new(self, **options: Any) -> Self:
        return super().new(**options, may_have_arrived=self._may_have_arrived)

    def increment(self, *args: Any, **options: Any) -> Self:
        """Note whether what has just failed may have reached the service; see the base class."""
        error = options.get("error")
        if not isinstance(error, NewConnectionError | ConnectTimeoutError | SSLError):
            response = options.get("response")
            self._may_have_arrived.append(response is None or response.status != 429)
        return super().increment(*args, **options)


def _adapter(retries: int, may_have_arrived: list[bool]) -> HTTPAdapter:
    return HTTPAdapter(
        max_retries=_Retry(
            total=retries,
            may_have_arrived=may_have_arrived,
            allowed_methods=None,
            status_forcelist={429, *range(500, 600)} - {501},  # it will not have learned it in a minute
            backoff_factor=1,
            backoff_max=_LONGEST_WAIT_SECONDS,
            retry_after_max=_LONGEST_WAIT_SECONDS,
            raise_on_status=False,
        )
    )


def _judged(
    path: Path, url: str, answer: requests.Response, token: str, *, correction: bool, replaces: Collection[str]
) -> str:
    # A service that quotes the request's headers must not bring the token into a log or a receipt.
    told = f"{answer.status_code} {answer.reason}".replace(token, _HIDDEN)
    problem = _problem(answer)
    if answer.status_code in (200, 201, 202):
        if answer.content.lstrip().startswith(b"<"):
            raise NotDelivered(f"{url}: {told}, with a web page", hint="Is this the URL of the service?")
        return told + _effect(answer)
    if answer.status_code == 409 and (problem.name == "duplicate" if problem else not correction):
        return f"{told}: the service has these statistics already"
    if answer.status_code == 409 and problem and problem.name in _CONFLICTS:
        raise _in_conflict(path, f"{path.name} to {url}: {told}", answer)
    said = " ".join(filter(None, [problem.title, problem.detail])) if problem else answer.text
    said = said.replace(token, _HIDDEN)
    subject = f"{path.name} to {url}: {told}: {' '.join(said.split())[:_ANSWER_CHARACTERS]}".rstrip(": ")
    if answer.is_redirect:
        location = answer.headers["Location"].replace(token, _HIDDEN)
        raise NotDelivered(subject, hint=f"Use --send-to {location}, if you trust it.")
    if answer.status_code in (401, 403):
        raise NotDelivered(subject, hint="Check the token; the central administrator can give a new one.")
    if correction and answer.status_code in (405, 501):
        raise PayloadRefused(
            f"{path.name} to {url}: {told}",
            hint="This service cannot replace statistics yet. The correction waits;"
            " tell the central administrator.",
        )
    if replaces and problem and problem.name == "unknown-payload":
        raise PayloadRefused(
            subject,
            hint="Look up which payloads the service has, and run the log again with others after --replaces.",
            unknown=set(replaces).intersection(problem.unknown),
        )
    if 400 <= answer.status_code < 500 and answer.status_code != 429:
        raise PayloadRefused(subject)
    # A proxy may have given up waiting for a service that went on.
    raise NotDelivered(subject, may_have_arrived=answer.status_code != 429)


def _problem(answer: requests.Response) -> _Problem | None:
    """What an answer says in the form of RFC 9457; None from a service that does not speak it."""
    try:
        problem = msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.DecodeError:
        return None
    return problem if problem.type is not None else None


def _effect(answer: requests.Response) -> str:
    """What has become of other payloads; nothing, if the service does not tell."""
    try:
        receipt = msgspec.json.decode(answer.content, type=_Receipt)
    except msgspec.DecodeError:
        return ""
    effect = f", supersedes {', '.join(map(str, receipt.supersedes))}" if receipt.supersedes else ""
    if receipt.overlaps:
        more = len(receipt.overlaps) - _OVERLAPS_SHOWN
        effect += f", counts beside {', '.join(map(str, receipt.overlaps[:_OVERLAPS_SHOWN]))}"
        effect += f" and {more} more" if more > 0 else ""
    return effect


def _in_conflict(path: Path, subject: str, answer: requests.Response) -> PayloadRefused:
    """Tell with what a file is in conflict, and what its operator can choose."""
    try:
        payloads = msgspec.json.decode(answer.content, type=_Conflict).payloads
    except msgspec.DecodeError:
        payloads = []
    covered = set(msgspec.json.decode(gzip.decompress(path.read_bytes()), type=_Covered).days_coverage)
    larger = [str(one.payload) for one in payloads if not covered.issuperset(one.days)]
    hint = (
        "Run its log again: with --replaces NUMBER, if it takes the place of such a payload;"
        " without --replace, if these are of other servers of the node, and it counts beside them."
    )
    if larger:
        hint += (
            f"\nOf {', '.join(larger)} all days would be replaced, also those that this file has not. Better run"
            " the logs of all its days at once, with --replace, and remove this file and its .delivery."
        )
    listed = ", ".join(map(str, payloads)) or "other payloads"
    return PayloadRefused(f"{subject}: the service has {listed}, for the same days", hint=hint)


def _reason(error: requests.RequestException) -> str:
    """What happened, without the internals of the HTTP library."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
