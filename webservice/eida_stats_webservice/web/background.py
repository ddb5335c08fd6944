"""Work of a process between requests. The server starts it, so that an application in a test has none."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

_STARTERS = "eida_background"


def register(app: "Flask", start: Callable[[], None]) -> None:
    """Let the server call a function once in each of its processes."""
    app.extensions.setdefault(_STARTERS, []).append(start)


def start_all(app: object) -> None:
    """Call the registered functions of an application, if it has any."""
    for start in getattr(app, "extensions", {}).get(_STARTERS, ()):
        start()
