"""GET dataselect/public: what was stored, summed up."""

import csv
import datetime
import io
import re

import msgspec
from flask import Blueprint, Response, request
from werkzeug.datastructures import MultiDict

from eida_statistics.errors import BadParameter
from eida_stats_webservice.store import Store
from eida_stats_webservice.store.records import Statistic

ANSWER_VERSION = "1.0.0"
COLUMNS = (
    "date", "node", "network", "station", "location", "channel", "country",
    "bytes", "nb_reqs", "nb_successful_reqs", "clients",
)  # fmt: skip


class Question(msgspec.Struct, frozen=True):
    """What is asked: months from `start` to `end`, both included, summed up by `level`."""

    start: datetime.date
    end: datetime.date
    level: str | None
    format: str


def question_of(parameters: MultiDict[str, str], today: datetime.date) -> Question:
    """Understand the parameters of a request.

    Raises:
        BadParameter: naming the parameter that is missing, unknown, repeated or has a value that is not understood.
    """
    for name, values in parameters.lists():
        if name not in ("start", "end", "level", "format"):
            raise BadParameter(f"{name} is unknown", hint="It takes start, end, level and format.")
        if len(values) > 1:
            raise BadParameter(f"{name} is given {len(values)} times", hint="Give it once.")
    if "start" not in parameters:
        raise BadParameter("start is missing", hint="Give the first month, YYYY-MM.")
    question = Question(
        start=_month("start", parameters["start"]),
        end=_month("end", parameters["end"]) if "end" in parameters else today,
        level=_choice("level", parameters.get("level"), ("node", "network")),
        format=_choice("format", parameters.get("format"), ("csv", "json")) or "csv",
    )
    if "end" in parameters and question.end < question.start:
        raise BadParameter(f"end={parameters['end']} is before start={parameters['start']}")
    return question


def blueprint(store: Store) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("dataselect", __name__)

    @routes.get("/dataselect/public")
    def public() -> Response:
        """Answer from what was stored, all networks together or one by one."""
        question = question_of(request.args, datetime.datetime.now(tz=datetime.UTC).date())
        found = store.statistics(
            question.start,
            question.end,
            by_node=question.level is not None,
            by_network=question.level == "network",
        )
        asked = request.query_string.decode("ascii", "replace")
        if question.format == "json":
            return Response(as_json(found, asked), content_type="application/json")
        return Response(as_csv(found, asked), content_type="text/csv; charset=utf-8")

    return routes


def as_json(found: list[Statistic], asked: str) -> bytes:
    """Write an answer as the deployed service does."""
    return msgspec.json.encode(
        {"version": ANSWER_VERSION, "request_parameters": asked, "results": [_fields(row) for row in found]}
    )


def as_csv(found: list[Statistic], asked: str) -> str:
    """Write an answer as the deployed service does: two lines of comment, then a header and the rows."""
    text = io.StringIO()
    text.write(f"# version: {ANSWER_VERSION}\n# request_parameters: {asked}\n")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_fields(row) for row in found)
    return text.getvalue()


def _fields(row: Statistic) -> dict[str, str | int]:
    known = msgspec.structs.asdict(row)
    return {column: known.get(column, "*") for column in COLUMNS}


def _month(name: str, value: str) -> datetime.date:
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", value) or value.startswith("0000"):
        raise BadParameter(f"{name}={value}", hint="It is a month, YYYY-MM.")
    return datetime.date.fromisoformat(f"{value}-01")


def _choice(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(f"{name}={value}", hint=f"It is {' or '.join(choices)}.")
    return value
