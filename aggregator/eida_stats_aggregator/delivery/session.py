"""An HTTP session with a central service: the token, retries, and the causes of failures."""

import datetime
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any, Self, cast
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.utils import rewind_body
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError, ProtocolError, SSLError
from urllib3.util import Retry

from eida_statistics import __version__
from eida_stats_aggregator.delivery.answers import Problem
from eida_stats_aggregator.delivery.connection_errors import describe_cause
from eida_stats_aggregator.errors import NotDelivered

# A service that has 100,000 rows to store may take a while to answer.
TIMEOUT_SECONDS = (30, 600)
QUICK_TIMEOUT_SECONDS = (30, 60)
_LONGEST_WAIT_SECONDS = 120
_ANSWER_CHARACTERS = 500
_HIDDEN = "[token]"
JSON = "application/json"
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class _BearerToken(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        # Deployed services look for it under this name.
        request.headers["Authentication"] = f"Bearer {self._token}"
        return request


class ServiceSession:
    """Sends requests to a central service, with a token.

    `token_valid_until` is the end of the token's validity and `token_node` its node, if the service states them.
    """

    def __init__(self, token: str, *, retries: int) -> None:
        self.token_valid_until: datetime.datetime | None = None
        self.token_node: str | None = None
        self._token = token
        self._retries = retries

    def request(
        self,
        method: str,
        url: str,
        parameters: Mapping[str, str] = _NO_PARAMETERS,
        body: bytes | IO[bytes] | None = None,
        may_have_arrived: list[bool] | None = None,
        *,
        content_type: str = JSON,
        timeout: tuple[int, int] | None = None,
    ) -> requests.Response:
        """Send a request, and note what the service states about the token.

        Connection errors, damaged answers, 429 and 5xx except 501 are tried again, after growing pauses or those
        that the service asks for.

        Args:
            method: of HTTP.
            url: of the resource.
            parameters: its query.
            body: compressed with gzip; a file is read from its present position.
            may_have_arrived: receives whether each failed request may have reached the service.
            content_type: that of the body.
            timeout: for the connection and the answer, in seconds. The default depends on whether there is a body.

        Raises:
            NotDelivered: if there is no whole answer.
        """
        with requests.Session() as session:
            retries = _make_retries(self._retries, [] if may_have_arrived is None else may_have_arrived)
            adapter = _Adapter(max_retries=retries)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            session.auth = _BearerToken(self._token)
            session.headers["User-Agent"] = f"eida-statistics/{__version__}"
            if body is not None:
                session.headers["Content-Type"] = content_type
                session.headers["Content-Encoding"] = "gzip"
            try:
                # A redirected POST becomes a GET, and its 200 would look like a delivery.
                answer = session.request(
                    method,
                    url,
                    params=parameters,
                    data=body,
                    timeout=timeout or (TIMEOUT_SECONDS if body is not None else QUICK_TIMEOUT_SECONDS),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                reason, hint = describe_cause(error, url)
                raise NotDelivered(f"{url}: {reason}", hint=hint) from error
        self._note_token(answer)
        return answer

    def quote(self, answer: requests.Response, problem: Problem | None) -> str:
        """Return the text of an answer, but not the page of a web server."""
        if problem is None:
            return "" if answer.content.lstrip().startswith(b"<") else self.shorten(answer.text)
        if problem.type == "about:blank":
            return ""  # its title is that of the status
        return self.shorten(": ".join(filter(None, [problem.title, problem.detail])))

    def shorten(self, text: str) -> str:
        """Return a text of the service on one line, without the token."""
        return " ".join(self.hide_token(text).split())[:_ANSWER_CHARACTERS]

    def format_status(self, answer: requests.Response) -> str:
        """Return the status of an answer."""
        # A service may quote the request's headers; the token must not get into a log or a receipt.
        return self.hide_token(f"{answer.status_code} {answer.reason}")

    def hide_token(self, text: str) -> str:
        """Return a text without the token."""
        return text.replace(self._token, _HIDDEN)

    def _note_token(self, answer: requests.Response) -> None:
        if (node := answer.headers.get("Token-Node")) is not None:
            self.token_node = unquote(node)
        text = answer.headers.get("Token-Valid-Until", "")
        try:
            end = datetime.datetime.fromisoformat(text)
        except ValueError:
            return
        if end.tzinfo is not None:
            self.token_valid_until = end


class _Retry(Retry):
    # Otherwise a 413 with Retry-After would be tried again, too.
    RETRY_AFTER_STATUS_CODES = frozenset({429, 503})

    def __init__(self, *args: Any, may_have_arrived: list[bool], **options: Any) -> None:
        super().__init__(*args, **options)
        self._may_have_arrived = may_have_arrived

    def new(self, **options: Any) -> Self:
        return super().new(**options, may_have_arrived=self._may_have_arrived)

    def increment(self, *args: Any, **options: Any) -> Self:
        """Note whether the failed request may have reached the service; see the base class."""
        error = options.get("error")
        if not isinstance(error, NewConnectionError | ConnectTimeoutError | SSLError):
            response = options.get("response")
            self._may_have_arrived.append(response is None or response.status != 429)
        return super().increment(*args, **options)


def _make_retries(retries: int, may_have_arrived: list[bool]) -> _Retry:
    return _Retry(
        total=retries,
        may_have_arrived=may_have_arrived,
        allowed_methods=None,
        status_forcelist={429, *range(500, 600)} - {501},  # a minute later it still does not know the method
        backoff_factor=1,
        backoff_max=_LONGEST_WAIT_SECONDS,
        retry_after_max=_LONGEST_WAIT_SECONDS,
        raise_on_status=False,
    )


class _Adapter(HTTPAdapter):
    """Sends one request, and reads the whole answer."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send the request, again if the answer breaks off or cannot be decompressed; see the base class."""
        # urllib3 retries only until it has the head of an answer.
        while True:
            answer = super().send(request, *args, **options)
            try:
                answer.content  # noqa: B018 - reads it
            except requests.RequestException as error:
                answer.close()
                self.max_retries = _count_failure(answer, error)
                self.max_retries.sleep()
                if not isinstance(request.body, bytes | None):
                    rewind_body(request)
            else:
                return answer


def _count_failure(answer: requests.Response, error: requests.RequestException) -> Retry:
    """Return the retries that are left after an answer could not be read; raise the error if there are none."""
    retries = cast("Retry", answer.raw.retries)
    try:
        return retries.increment(answer.request.method, answer.url, response=answer.raw, error=ProtocolError())
    except MaxRetryError:
        raise error from None
