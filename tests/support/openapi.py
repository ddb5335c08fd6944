"""The OpenAPI document of the service, parsed."""

from functools import cache
from typing import Any

import yaml

from eida_stats_webservice.web import api_docs


@cache
def parse(text: str) -> dict[str, Any]:
    """Parse a document. The tests of a process share the result, so none may change it."""
    # The loader in C takes a seventh of the time.
    return dict(yaml.load(text, Loader=yaml.CSafeLoader))


def read() -> dict[str, Any]:
    """Return the document in the package."""
    return parse(api_docs.OPENAPI.read_text())
