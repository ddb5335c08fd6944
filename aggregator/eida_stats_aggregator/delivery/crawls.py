"""Send the crawl of an archive to a central service."""

import datetime
from typing import IO
from urllib.parse import quote

import msgspec
import requests

from eida_stats_aggregator.delivery.answers import REFUSED_HINT, Problem, parse_answer
from eida_stats_aggregator.delivery.session import ServiceSession
from eida_stats_aggregator.delivery.urls import find_base_url
from eida_stats_aggregator.errors import CrawlNotSent, CrawlRefused, NotDelivered

_TYPE = "text/tab-separated-values"
_AGAIN = "Run it again."
_HINTS = {
    "other-shard": "Check --shard and the token: they belong to different nodes.",
    "unknown-shard": "Check --shard. The central administrator creates shards.",
}
_NO_SERVICE = "There is no service that takes crawls at this URL. Check its path, such as /eidaws/statistics/1."
_NO_PUT = "Something in front of the service does not pass crawls (PUT)."
_HINTS_BY_STATUS = {
    **dict.fromkeys((200, 202, 404), _NO_SERVICE),
    **dict.fromkeys((401, 403), REFUSED_HINT),
    **dict.fromkeys((405, 501), _NO_PUT),
    413: "Copy the file to the centre, where the administrator can ingest it.",
}
# These statuses are about the crawl, which is refused each time.
_REFUSED = (400, 409, 413, 415, 422)


class CrawlReceipt(msgspec.Struct):
    """The answer of a service that has the crawl.

    Attributes:
        status: `stored`, or `unchanged` if the service had it before.
        shard: the code of the shard.
        refused: why it was not ingested, if it was refused.
    """

    status: str
    shard: str
    refused: str | None = None


class CrawlClient:
    """A central service that takes the crawls of a shard, for a node with a token."""

    def __init__(self, url: str, token: str, shard: str, *, retries: int) -> None:
        self._resource = f"/archive/{quote(shard, safe='')}/crawl"
        self.url = find_base_url(url) + self._resource
        self._session = ServiceSession(token, retries=retries)

    @property
    def token_valid_until(self) -> datetime.datetime | None:
        """The end of the token's validity, if the service has stated it."""
        return self._session.token_valid_until

    def send(self, file: IO[bytes]) -> CrawlReceipt:
        """Send the file of a crawl, from its present position.

        Raises:
            CrawlRefused: if the service refuses it.
            CrawlNotSent: if the service cannot be reached, fails, or refuses the token.
        """
        try:
            answer = self._session.request("PUT", self.url, body=file, content_type=_TYPE)
        except NotDelivered as failure:
            raise CrawlNotSent(failure.subject, hint=failure.hint or _AGAIN) from failure
        receipt = parse_answer(answer, CrawlReceipt) if answer.status_code in (200, 202) else None
        if receipt is None:
            raise self._make_failure(answer)
        return receipt

    def _make_failure(self, answer: requests.Response) -> CrawlNotSent:
        problem = parse_answer(answer, Problem)
        said = self._session.quote(answer, problem)
        reason = ": ".join(filter(None, [self.url, self._session.format_status(answer), said]))
        name = "" if problem is None else problem.name
        kind = CrawlRefused if answer.status_code in _REFUSED or name in _HINTS else CrawlNotSent
        return kind(reason, hint=_HINTS.get(name) or self._find_hint(answer))

    def _find_hint(self, answer: requests.Response) -> str:
        if answer.is_redirect:
            location = self._session.hide_token(answer.headers["Location"]).removesuffix(self._resource)
            return f"Use --to {location}, if you trust it."
        return _HINTS_BY_STATUS.get(answer.status_code, "" if answer.status_code in _REFUSED else _AGAIN)
