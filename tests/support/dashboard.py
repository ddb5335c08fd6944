"""Request the dashboard as a browser does."""

from urllib.parse import urljoin, urlsplit

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from support.service import PREFIX


def show(client: FlaskClient, **parameters: str) -> TestResponse:
    """Return the page with some parameters."""
    return client.get(f"{PREFIX}/", query_string=parameters)


def follow(client: FlaskClient, link: str) -> TestResponse:
    """Return the answer to a link of the page."""
    address = urlsplit(urljoin(f"http://localhost{PREFIX}/", link))
    return client.get(address.path, query_string=address.query)
