"""Blueprints declare how shared code treats their requests."""

import re

import pytest
from flask import Blueprint, Flask
from flask.testing import FlaskClient

from eida_stats_webservice import errors
from eida_stats_webservice.web import headers, problem_details
from eida_stats_webservice.web.route_options import RouteOptions, declare_options, match_open_paths
from support.error_classes import list_classes

OPTIONS = RouteOptions(
    paths=("/made-up",),
    exact_paths=("/exact",),
    is_open_to_pages=False,
    wants_text_errors=lambda request: "json" not in request.args,
    logs_query=True,
    wrong_method_hints={"/made-up/one": "GET it."},
)


@pytest.fixture
def app() -> Flask:
    made_up = Blueprint("made_up", __name__)
    declare_options(made_up, OPTIONS)
    made_up.get("/made-up/one", endpoint="one")(lambda: "one")
    made_up.get("/made-up/fault", endpoint="fault")(lambda: 1 // 0)
    other = Blueprint("other", __name__)
    other.get("/other", endpoint="other")(lambda: "other")
    other.get("/other/fault", endpoint="fault")(lambda: 1 // 0)
    app = Flask(__name__)
    headers.register(app)
    problem_details.register(app)
    app.register_blueprint(made_up, url_prefix="/prefix")
    app.register_blueprint(other, url_prefix="/prefix")
    return app


@pytest.fixture
def app_client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("made-up/fault", "text/plain"),
        ("made-up/fault?json", "application/problem+json"),
        ("made-up/unknown", "text/plain"),
        ("made-up", "application/problem+json"),
        ("other/fault", "application/problem+json"),
    ],
)
def test_blueprint_chooses_the_form_of_errors(app_client: FlaskClient, path: str, media_type: str) -> None:
    assert app_client.get(f"/prefix/{path}").mimetype == media_type


def test_wrong_method_gets_the_hint(app_client: FlaskClient) -> None:
    wrong = app_client.post("/prefix/made-up/one?json")
    assert (wrong.status_code, wrong.get_json()["detail"]) == (405, "GET it.")
    assert set(wrong.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    assert app_client.post("/prefix/other").get_json()["detail"] != "GET it."


@pytest.mark.parametrize(("path", "logged"), [("made-up/one", True), ("other", False), ("made-up/none", False)])
def test_only_declared_queries_are_logged(app: Flask, path: str, logged: bool) -> None:
    with app.test_request_context(f"/prefix/{path}") as context:
        app.preprocess_request()
        assert context.request.environ[headers.LOGGED_QUERY] is logged


def test_closed_paths_are_not_open_to_pages(app: Flask) -> None:
    is_open = re.compile(match_open_paths(app)).match
    assert not is_open("/prefix/made-up")
    assert not is_open("/prefix/made-up/one")
    assert is_open("/prefix/made-up-too")
    assert not is_open("/prefix/exact")
    assert is_open("/prefix/exact/one")
    assert is_open("/prefix/other")
    assert re.match(match_open_paths(Flask(__name__)), "/prefix/made-up")


def test_temporary_errors_have_retry_after() -> None:
    temporary = [kind for kind in list_classes() if kind.http_status in (429, 503)]
    assert errors.DatabaseLocked in temporary
    assert all(int(kind.headers["Retry-After"]) > 0 for kind in temporary)
    assert errors.MissingToken.headers == {"WWW-Authenticate": "Bearer"}
