"""Which node sends a request."""

import datetime

from flask import Request

from eida_statistics.errors import MissingToken
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import Node

_HINT = "Send Authorization: Bearer TOKEN, with the token that the central administrator gave you."


def node_of(request: Request, store: Store) -> Node:
    """Give the node whose token a request carries.

    Deployed aggregators send it under the header name Authentication, which counts as well.

    Raises:
        MissingToken: if it carries none.
        RefusedToken: if the token is not valid now.
    """
    for name in ("Authorization", "Authentication"):
        scheme, _, token = request.headers.get(name, "").strip().partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return store.node_of_token(token.strip(), datetime.datetime.now(tz=datetime.UTC))
    raise MissingToken(hint=_HINT)
