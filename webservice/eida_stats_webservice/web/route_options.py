"""Options that blueprints declare, for the code that handles the requests of all blueprints."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flask import Blueprint, Flask, Request, Response, current_app, request
from flask.sansio.app import App

_EXTENSION = "eida_statistics_route_options"


def _never(_request: Request) -> bool:
    return False


@dataclass(frozen=True)
class RouteOptions:
    """How the service treats requests to the routes of a blueprint.

    Args:
        paths: the first parts of the blueprint's paths, each with a slash at its beginning. A request below one of
            these that no route accepts is answered as other errors of the blueprint.
        exact_paths: paths of the blueprint below which another blueprint may have others.
        is_open_to_pages: whether web pages of other sites may read the answers.
        wants_text_errors: whether the client of a request expects errors as lines of comment instead of JSON.
        write_error: returns the answer to a failed request, by its status, title and detail, in a form of its own.
        logs_query: whether the access log has the query strings of successful requests. They must hold no secret.
        counts_submissions: whether the metrics count the requests as submissions of payloads.
        wrong_method_hints: what a client should do that uses a wrong method, by path.
    """

    paths: tuple[str, ...] = ()
    exact_paths: tuple[str, ...] = ()
    is_open_to_pages: bool = True
    wants_text_errors: Callable[[Request], bool] = _never
    write_error: Callable[[int, str, str], Response] | None = None
    logs_query: bool = False
    counts_submissions: bool = False
    wrong_method_hints: Mapping[str, str] = field(default_factory=dict)


_DEFAULT = RouteOptions()


def declare_options(blueprint: Blueprint, options: RouteOptions) -> None:
    """Declare the options of a blueprint; they count for every application that registers the blueprint."""
    blueprint.record(lambda state: _declared(state.app).update({state.name: options}))


def find_options() -> RouteOptions:
    """Return the options of the blueprint whose route accepts the current request, or the default options."""
    return _declared(current_app).get(request.blueprint or "", _DEFAULT)


def find_options_for_errors() -> RouteOptions:
    """Return the options that count if the current request fails, also because no route accepts it."""
    if request.blueprint is not None:
        return find_options()
    declared = _declared(current_app).values()
    return next(
        (options for options in declared if any(f"{path}/" in request.path for path in options.paths)), _DEFAULT
    )


def find_wrong_method_hint() -> str | None:
    """Return the hint for a client that has used a wrong method on the path of the current request."""
    hints = find_options_for_errors().wrong_method_hints
    return next((hint for path, hint in hints.items() if request.path.endswith(path)), None)


def match_open_paths(app: Flask) -> str:
    """Return a regular expression for the paths whose answers web pages of other sites may read."""
    blueprints = [options for options in _declared(app).values() if not options.is_open_to_pages]
    closed = [rf"{re.escape(path)}(/|$)" for options in blueprints for path in options.paths]
    closed += [f"{re.escape(path)}$" for options in blueprints for path in options.exact_paths]
    return f"^(?!.*({'|'.join(closed)}))" if closed else "^"


def _declared(app: App) -> dict[str, RouteOptions]:
    options: dict[str, RouteOptions] = app.extensions.setdefault(_EXTENSION, {})
    return options
