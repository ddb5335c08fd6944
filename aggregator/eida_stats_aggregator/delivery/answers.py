"""Answers of a central service."""

import datetime
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from eida_statistics.payload import Period

if TYPE_CHECKING:
    import requests  # slow to import

REFUSED_HINT = "Check the token. The central administrator can create a new one."

_Kind = TypeVar("_Kind")


class Other(msgspec.Struct):
    """Another payload at the service, of some of the same days."""

    payload: int
    days: list[datetime.date] = []
    source: str = ""
    period: Period | None = None

    def __str__(self) -> str:
        period = self.period
        if period is None and self.days:
            period = Period(min(self.days), max(self.days))
        of = f" of source {self.source}" if self.source else ""
        return f"payload {self.payload}{of}" + (f" for {period}" if period else "")


class Receipt(msgspec.Struct):
    """The answer of a service that has stored a payload."""

    node: str | None = None
    payload: int | None = None
    hash: str | None = None
    supersedes: list[int] = []
    overlaps: list[Other] = []


class Conflict(msgspec.Struct):
    """The payloads of the same days, and the choices of the operator."""

    payloads: list[Other]
    choices: list[str] = []


class Problem(msgspec.Struct):
    """Problem details of RFC 9457; `payload` is the one that a duplicate repeats, if the service names it."""

    type: str
    title: str | None = None
    detail: str | None = None
    payload: int | None = None

    @property
    def name(self) -> str:
        """The last part of the type, which is the same at all services."""
        return re.split(r"[:/#]", self.type)[-1]


class Listed(msgspec.Struct):
    """A payload of the node, in force or not. Older services have only payloads of dataselect."""

    payload: int
    source: str = ""
    kind: str = "dataselect"


class Payloads(msgspec.Struct):
    """The list of a node's payloads."""

    payloads: list[Listed]


class Delivered(NamedTuple):
    """The answer of a service that has a payload.

    `payload` is its number and `node` the node for which it counts, if the service says them. `overlaps` are others
    that count for some of its days. `stored` is False if the service had it already.
    """

    answer: str
    payload: int | None = None
    node: str | None = None
    overlaps: Sequence[Other] = ()
    stored: bool = True


def parse_answer(answer: "requests.Response", kind: type[_Kind]) -> _Kind | None:
    """Return the JSON of an answer, None if it is not of this kind."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError:
        return None
