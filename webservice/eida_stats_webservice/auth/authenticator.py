"""Identify clients that ask for restricted statistics."""

import datetime
from collections.abc import Callable

from flask import Request

from eida_stats_webservice.auth.eas import Verifier
from eida_stats_webservice.errors import InvalidEasToken, MissingToken
from eida_stats_webservice.registry.models import Viewer
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import read_bearer_token
from eida_stats_webservice.web.body import read_body
from eida_stats_webservice.web.concurrency import ConcurrencyLimit

# A form around the largest token fits in.
_MAX_BODY_BYTES = 64 * 1024
_HINT = (
    "Send the file of your token of the EIDA authentication system, or Authorization: Bearer TOKEN with that of the"
    " operator of a network."
)


class Authenticator:
    """Identifies clients by the tokens that their requests carry.

    Args:
        registry: knows the tokens of networks' operators.
        verifier: knows whose signatures of the EIDA authentication system count; without it none does.
        concurrency: limits how many signatures are verified at once.
        check_failures: raises an error if the client has sent too many bad tokens for another one to be verified.
    """

    def __init__(
        self,
        registry: RegistryRepository,
        verifier: Verifier | None,
        concurrency: ConcurrencyLimit,
        check_failures: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._verifier = verifier
        self._concurrency = concurrency
        self._check_failures = check_failures

    def check_token(self, request: Request) -> None:
        """Check that the token in the header of a request is still valid, if it has one.

        Raises:
            RefusedToken: if it is not.
        """
        if (token := read_bearer_token(request)) is not None:
            self._registry.network_of_token(token, _now())

    def authenticate(self, request: Request) -> Viewer:
        """Return the viewer of a request; of a token in a header and one in the body, that in the header counts.

        Raises:
            MissingToken: if the request carries none.
            RefusedToken: if one of ours is not valid now, or is for sending.
            InvalidEasToken: if the body is no token of the EIDA authentication system that is valid now.
            EasUnavailable: if that cannot be verified at present.
            TooManyFailures: if it is a body, and the client has sent too many bad tokens.
            Busy: if too many others wait for the same.
        """
        body = read_body(request, _MAX_BODY_BYTES)
        if (token := read_bearer_token(request)) is not None:
            # Only now: a token may have expired while the body came in.
            return Viewer(networks=frozenset([self._registry.network_of_token(token, _now())]))
        if not body.strip():
            raise MissingToken(hint=_HINT)
        if self._verifier is None:
            raise InvalidEasToken("this service verifies none", hint="Its administrator may set EAS_KEYRING.")
        self._check_failures()
        with self._concurrency.slot():
            return Viewer(groups=self._verifier.identify(body, _now).groups)


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
