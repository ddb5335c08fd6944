"""The client that sends payloads to a central service."""

import datetime
import re
from functools import cached_property
from typing import TYPE_CHECKING

from eida_stats_aggregator.console import format_list
from eida_stats_aggregator.delivery.answers import (
    REFUSED_HINT,
    Conflict,
    Delivered,
    Payloads,
    Problem,
    Receipt,
    parse_answer,
)
from eida_stats_aggregator.delivery.state import Terms
from eida_stats_aggregator.delivery.urls import find_base_url, make_submission_url
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

if TYPE_CHECKING:
    import requests

    from eida_stats_aggregator.delivery.session import ServiceSession

_CONFLICTS = {"ambiguous-replacement", "overlapping-payload"}
# The answer of the deployed service to statistics that it has.
_DEPLOYED_DUPLICATE = re.compile(r"already exists on the server\. Refusing to merge")


class ServiceClient:
    """A central service that takes payloads, for a node with a token."""

    def __init__(self, url: str, token: str, *, retries: int, kind: str = "dataselect") -> None:
        self.url = make_submission_url(url, kind)
        self.base = find_base_url(url)
        self._token = token
        self._retries = retries
        self._kind = kind
        self._corrects: bool | None = None

    @cached_property
    def _session(self) -> "ServiceSession":
        # Slow to import, and not needed by runs without anything to send.
        from eida_stats_aggregator.delivery.session import ServiceSession  # noqa: PLC0415

        return ServiceSession(self._token, retries=self._retries)

    @property
    def token_valid_until(self) -> datetime.datetime | None:
        """The end of the token's validity, if the service has stated it."""
        # Without a request there is no session yet.
        return self._session.token_valid_until if "_session" in vars(self) else None

    def submit(self, name: str, body: bytes, terms: Terms, *, empty: bool) -> Delivered:
        """Send a payload.

        Connection errors, damaged answers, 429 and 5xx except 501 are tried again, after growing pauses or those
        that the service asks for. Statistics that the service already has count as delivered.

        A deployed service cannot correct: it would overwrite the rows of a month with those of the payload. It
        answers an empty payload with 500. So neither is sent before the service has shown its version.

        Args:
            name: of the file, for messages.
            body: the payload, compressed with gzip.
            terms: how it is to be counted.
            empty: whether it has no rows.

        Raises:
            PayloadHeld: if the service has others of these days, and the operator must decide.
            PayloadRefused: if it refuses this payload.
            ServiceFault: if it fails with this payload.
            DeliveryOvertaken: if something else was sent for these days in the meantime.
            PathUnknown: if there is no such service at the URL.
            NotDelivered: if it cannot be reached, or refuses the token: other files would fare no better.
        """
        if (terms.replace or empty) and not self.supports_corrections():
            what = "a day without requests" if empty else "a correction"
            hint = f"This service cannot take {what}, which waits. Ask the central administrator for an upgrade."
            raise PayloadRefused(f"{name} to {self.url}", hint=hint)
        parameters = {}
        if terms.replaces:
            parameters["replaces"] = ",".join(terms.replaces)
        if terms.beside:
            parameters["overlap"] = "accept"
        may_have_arrived: list[bool] = []
        try:
            method = "PUT" if terms.replace else "POST"
            answer = self._session.request(method, self.url, parameters, body, may_have_arrived)
            return self._judge(name, answer, replace=terms.replace)
        except NotDelivered as failure:
            failure.may_have_arrived |= any(may_have_arrived)
            raise

    def supports_corrections(self) -> bool:
        """Return whether the service knows corrections and periods; deployed ones have no `version`.

        Raises:
            ServiceSilent: if it does not say.
            NotDelivered: if it cannot be reached.
        """
        if self._corrects is None:
            answer = self._session.request("GET", f"{self.base}/version", {})
            if answer.status_code >= 500 or answer.status_code == 429:
                raise ServiceSilent(f"{self.base}/version: {self._session.format_status(answer)}")
            version = re.fullmatch(rb"\d+\.\d+[0-9A-Za-z.+-]*\s*", answer.content)
            self._corrects = answer.status_code == 200 and version is not None
        return self._corrects

    def find_token_node(self) -> str | None:
        """Return the node of the token, None if the service does not state it.

        Raises:
            NotDelivered: if it cannot be reached.
        """
        self._session.request("GET", f"{self.base}/payloads", {"limit": "1"})
        return self._session.token_node

    def list_payloads(self, source: str) -> set[int] | None:
        """Return the numbers of the payloads of a source of this node, None if the service does not list them.

        Those of other kinds are left out. An empty source is the whole node. Payloads without a source count for
        each source.

        Raises:
            ServiceSilent: if it does not answer the question, or refuses the token.
            NotDelivered: if it cannot be reached.
        """
        answer = self._session.request("GET", f"{self.base}/payloads", {})
        if answer.status_code in (404, 405):
            return None
        if answer.status_code != 200:
            reason = ": ".join(
                filter(
                    None,
                    [
                        self._session.format_status(answer),
                        self._session.quote(answer, parse_answer(answer, Problem)),
                    ],
                )
            )
            hint = REFUSED_HINT if answer.status_code in (401, 403) else "Check the URL."
            raise ServiceSilent(f"{self.base}/payloads: {reason}", hint=hint)
        if (listed := parse_answer(answer, Payloads)) is None:
            return None
        self._corrects = True
        ours = (one for one in listed.payloads if one.kind == self._kind)
        return {one.payload for one in ours if not source or one.source in ("", source)}

    def _judge(self, name: str, answer: "requests.Response", *, replace: bool) -> Delivered:
        status = self._session.format_status(answer)
        problem = parse_answer(answer, Problem)
        if answer.status_code in (200, 201, 202):
            if answer.content.lstrip().startswith(b"<"):
                raise NotDelivered(f"{self.url}: {status}, with a web page", hint="Is this the URL of the service?")
            return self._parse_receipt(status, answer)
        has_it = f"{status}: the service has these statistics already"
        if answer.status_code == 409 and (problem.name == "duplicate" if problem else not replace):
            return Delivered(has_it, problem.payload if problem else None, stored=False)
        if answer.status_code == 400 and problem is None and _DEPLOYED_DUPLICATE.search(answer.text):
            return Delivered(has_it, stored=False)
        raise self._make_failure(name, f"{self.url}: {status}", answer, problem, replace=replace)

    def _make_failure(
        self, file: str, reason: str, answer: "requests.Response", problem: Problem | None, *, replace: bool
    ) -> NotDelivered:
        code, name = answer.status_code, problem.name if problem else ""
        if code == 409 and name in _CONFLICTS:
            return self._make_held(file, reason, answer)
        said = self._session.quote(answer, problem)
        reason = f"{reason}: {said}" if said else reason
        if name == "unknown-payload":
            hint = f"Look for the right number: GET {self.base}/payloads. Run the log again with it."
            return ReplacedUnknown(file, reason, hint=hint)
        kind: type[NotDelivered] = NotDelivered
        hint = ""
        if name == "overtaken":
            kind, hint = DeliveryOvertaken, "The next run sends it again."
        elif answer.is_redirect:
            location = self._session.hide_token(answer.headers["Location"])
            hint = f"Use --send-to {location}, if you trust it."
        elif code in (401, 403):
            hint = REFUSED_HINT
        elif code in (405, 501) and replace:
            kind, hint = PayloadRefused, "Something in front of the service does not pass corrections (PUT)."
        elif code in (404, 405):
            kind, hint = PathUnknown, f"There is no service at {self.url}. Check the URL."
        elif 400 <= code < 500 and code != 429:
            kind = PayloadRefused
        else:
            kind = ServiceFault
        # A proxy may have stopped waiting for a service that went on.
        arrived = kind is ServiceFault and code not in (429, 501)
        return kind(f"{file} to {reason}", hint=hint, may_have_arrived=arrived)

    def _make_held(self, file: str, reason: str, answer: "requests.Response") -> PayloadHeld:
        """Return the error that names the payloads of the same days, and the choices of the operator."""
        conflict = parse_answer(answer, Conflict) or Conflict([])
        others = format_list(conflict.payloads) or "other payloads"
        number = conflict.payloads[0].payload if conflict.payloads else "NUMBER"
        choices = [self._session.shorten(choice) for choice in conflict.choices] or [
            "If it is a correction of the same source and period: --replace.",
            f"If it takes the place of another payload: --replaces {number}.",
            "To keep all in force: --beside.",
        ]
        hint = "\n".join(["Run its log again with one of these:", *(f"  {choice}" for choice in choices)])
        sources = {other.payload: other.source for other in conflict.payloads}
        return PayloadHeld(file, f"{reason}: the service has {others}", hint=hint, sources=sources)

    def _parse_receipt(self, status: str, answer: "requests.Response") -> Delivered:
        if (receipt := parse_answer(answer, Receipt)) is None:
            return Delivered(status)
        if receipt.hash is not None:
            self._corrects = True
        if receipt.payload is not None:
            status += f", payload {receipt.payload}" + (f" of {receipt.node}" if receipt.node else "")
        if receipt.supersedes:
            status += f", supersedes {', '.join(map(str, receipt.supersedes))}"
        if receipt.overlaps:
            status += f", counts beside {format_list(receipt.overlaps)}"
        return Delivered(status, receipt.payload, receipt.node, receipt.overlaps)
