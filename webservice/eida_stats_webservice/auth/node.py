"""The node that sends a request, by its token."""

import datetime
from urllib.parse import quote

from flask import Request, g

from eida_stats_webservice.errors import MissingToken
from eida_stats_webservice.registry.models import Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import read_bearer_token

_HINT = "Send Authorization: Bearer TOKEN, with the token that the central administrator gave you."


def authenticate_node(request: Request, registry: RegistryRepository) -> Sender:
    """Return the node whose token a request carries.

    Deployed aggregators send it under the header name Authentication, which counts as well.

    Raises:
        MissingToken: if it carries none.
        ExpiredToken: if the token has expired.
        RefusedToken: if it is not valid otherwise.
    """
    token = read_bearer_token(request)
    if token is None:
        raise MissingToken(hint=_HINT)
    sender = registry.sender_of_token(token, datetime.datetime.now(tz=datetime.UTC))
    # For the answer: an aggregator notices the token of another node before it sends anything.
    g.token_node = quote(sender.node.name)
    return sender
