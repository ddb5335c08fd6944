"""Send records of connections to a central service."""

import datetime
import gzip
from collections.abc import Sequence

import msgspec
import requests

from eida_statistics.connections import Record, encode_records
from eida_stats_aggregator.delivery.answers import REFUSED_HINT, Problem, parse_answer
from eida_stats_aggregator.delivery.session import QUICK_TIMEOUT_SECONDS, ServiceSession
from eida_stats_aggregator.delivery.urls import find_base_url, make_submission_url
from eida_stats_aggregator.errors import NotDelivered, RecordsNotSent, RecordsRefused

JSON_LINES = "application/x-ndjson"
# These statuses are about the records. The same records are refused each time.
_REFUSED = (400, 409, 413, 415, 422)
_CONFLICT_HINT = (
    "The centre has another event at this position of the log, or has archived its month. If the log was"
    " changed, or is that of another ringserver, move it out of the directory. Then start again."
)
# The parser has rejected times that never can be right, so this one is in the future, and that passes.
_UNUSABLE_TIME = "unusable-time"
_CLOCK_HINT = "Check the clocks of the ringserver, of this machine and of the service."


class _Receipt(msgspec.Struct):
    created: int = 0


class ConnectionsClient:
    """A central service that takes records of connections, for a node with a token."""

    def __init__(self, url: str, token: str, *, retries: int) -> None:
        self.url = make_submission_url(url, "connections")
        self.base = find_base_url(url)
        self._session = ServiceSession(token, retries=retries)

    @property
    def token_valid_until(self) -> datetime.datetime | None:
        """The end of the token's validity, if the service has stated it."""
        return self._session.token_valid_until

    @property
    def token_node(self) -> str | None:
        """The node of the token, if the service has stated it."""
        return self._session.token_node

    def send(self, records: Sequence[Record]) -> int:
        """Send records, at most `MAX_RECORDS`, and return how many new events the service has stored.

        Raises:
            RecordsRefused: if the service refuses these records.
            RecordsNotSent: if it cannot be reached, fails, or refuses the token.
        """
        body = gzip.compress(encode_records([*records]), mtime=0)
        try:
            answer = self._session.request(
                "POST", self.url, body=body, content_type=JSON_LINES, timeout=QUICK_TIMEOUT_SECONDS
            )
        except NotDelivered as failure:
            raise RecordsNotSent(failure.subject, hint=failure.hint) from failure
        receipt = parse_answer(answer, _Receipt) if answer.status_code == 200 else None
        if receipt is None:
            raise self._make_failure(answer)
        return receipt.created

    def _make_failure(self, answer: requests.Response) -> RecordsNotSent:
        problem = parse_answer(answer, Problem)
        said = self._session.quote(answer, problem)
        reason = ": ".join(filter(None, [self.url, self._session.format_status(answer), said]))
        code = answer.status_code
        if problem is not None and problem.name == _UNUSABLE_TIME:
            return RecordsNotSent(reason, hint=_CLOCK_HINT)
        if code in _REFUSED:
            return RecordsRefused(reason, hint=_CONFLICT_HINT if code == 409 else "")
        hint = ""
        if answer.is_redirect:
            hint = f"Use --send-to {self._session.hide_token(answer.headers['Location'])}, if you trust it."
        elif code in (401, 403):
            hint = REFUSED_HINT
        elif code in (200, 404, 405):
            hint = f"There is no service that takes connections at {self.url}. Check the URL."
        return RecordsNotSent(reason, hint=hint)
