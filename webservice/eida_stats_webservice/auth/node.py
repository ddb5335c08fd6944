"""Authenticate the node that sends a request."""

import datetime
from urllib.parse import quote

from flask import Request, g

from eida_stats_webservice.errors import MissingToken
from eida_stats_webservice.registry.models import Sender
from eida_stats_webservice.registry.repository import RegistryRepository
from eida_stats_webservice.web.bearer import read_bearer_token

_HINT = "Send Authorization: Bearer TOKEN, with your node's token from the central administrator."


def authenticate_node(request: Request, registry: RegistryRepository) -> Sender:
    """Return the node whose token a request carries.

    The header may be called Authentication, too, as deployed aggregators send it.

    Raises:
        MissingToken: if the request has no token.
        ExpiredToken: if the token has expired.
        RefusedToken: if the token is invalid for another reason.
    """
    token = read_bearer_token(request)
    if token is None:
        raise MissingToken(hint=_HINT)
    sender = registry.find_sender_of_token(token, datetime.datetime.now(tz=datetime.UTC))
    # The response names the node, so that an aggregator notices a wrong token before it sends a payload.
    g.token_node = quote(sender.node.name)
    return sender
