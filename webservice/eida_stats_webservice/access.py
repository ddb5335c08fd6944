"""Who asks for restricted statistics."""

import datetime

from flask import Request

from eida_statistics.errors import MissingToken
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import Viewer
from eida_stats_webservice.tokens import bearer_of

_HINT = "Send Authorization: Bearer TOKEN, with the token that the central administrator gave you for your network."


def viewer_of(request: Request, store: Store) -> Viewer:
    """Give who asks, by the token that a request carries.

    Raises:
        MissingToken: if it carries none.
        RefusedToken: if the token is not valid now, or is for sending.
    """
    token = bearer_of(request)
    if token is None:
        raise MissingToken(hint=_HINT)
    return Viewer(networks=frozenset([store.network_of_token(token, datetime.datetime.now(tz=datetime.UTC))]))
