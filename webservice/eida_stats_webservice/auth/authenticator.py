"""Authenticate clients of restricted statistics."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass

from flask import Request

from eida_stats_webservice.auth.eas import Verifier
from eida_stats_webservice.errors import InvalidEasToken, MissingToken
from eida_stats_webservice.registry.models import Viewer
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import read_bearer_token
from eida_stats_webservice.web.body import read_body
from eida_stats_webservice.web.concurrency import ConcurrencyLimit

# Large enough for the largest token in a form.
_MAX_BODY_BYTES = 64 * 1024
_HINT = (
    "Send the file with your token of the EIDA authentication system, or, as the operator of a network,"
    " Authorization: Bearer TOKEN."
)


@dataclass(frozen=True)
class Authenticator:
    """Identifies clients by the tokens that their requests carry.

    Without a verifier, all tokens of the EIDA authentication system are refused. `concurrency` limits how many
    signatures are verified at once. `check_failures` raises an error if the client has sent too many bad tokens.
    """

    registry: RegistryRepository
    verifier: Verifier | None
    concurrency: ConcurrencyLimit
    check_failures: Callable[[], None]

    def find_network(self, request: Request) -> str | None:
        """Return the network of the token in the header of a request, or None if there is no token.

        Raises:
            ExpiredToken: if the token has expired.
            RefusedToken: if it is not valid.
        """
        token = read_bearer_token(request)
        return None if token is None else self.registry.find_network_of_token(token, _now())

    def check_token(self, request: Request) -> None:
        """Check that the token in the header of a request, if there is one, is still valid.

        Raises:
            RefusedToken: if it is not.
        """
        self.find_network(request)

    def authenticate(self, request: Request) -> Viewer:
        """Return the viewer of a request. A token in the header takes precedence over one in the body.

        Raises:
            MissingToken: if the request has no token.
            RefusedToken: if the token in the header is not valid, or is that of a node.
            InvalidEasToken: if the body is not a valid token of the EIDA authentication system.
            EasUnavailable: if the token in the body cannot be verified at present.
            TooManyFailures: if the client has sent too many bad tokens to verify another body.
            Busy: if too many requests wait for verification.
        """
        body = read_body(request, _MAX_BODY_BYTES)
        if (token := read_bearer_token(request)) is not None:
            # After reading the body, since the token may expire in the meantime.
            return Viewer(networks=frozenset([self.registry.find_network_of_token(token, _now())]))
        if not body.strip():
            raise MissingToken(hint=_HINT)
        if self.verifier is None:
            raise InvalidEasToken("this service accepts none", hint="Ask its administrator to set EAS_KEYRING.")
        self.check_failures()
        with self.concurrency.slot():
            return Viewer(groups=self.verifier.find_groups(body, _now))


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)
