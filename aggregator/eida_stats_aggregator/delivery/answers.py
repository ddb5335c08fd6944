"""Answers of a central service."""

import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import requests

from eida_statistics.payload import Period


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


class _Duplicate(msgspec.Struct):
    payload: int | None = None


class Problem(msgspec.Struct):
    """Problem details of RFC 9457."""

    type: str | None = None
    title: str | None = None
    detail: str | None = None

    @property
    def name(self) -> str:
        """The last part of the type, which is the same at all services."""
        return re.split(r"[:/#]", self.type or "")[-1]


class Payloads(msgspec.Struct):
    """The list of a node's payloads."""

    payloads: list[Other]


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


def parse_problem(answer: requests.Response) -> Problem | None:
    """Return the problem details of RFC 9457 in an answer, None from a service that does not know them."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        return None
    return problem if problem.type is not None else None


def parse_number(answer: requests.Response) -> int | None:
    """Return the number of the payload that a duplicate repeats, None if the service does not name it."""
    try:
        return msgspec.json.decode(answer.content, type=_Duplicate).payload
    except msgspec.DecodeError:
        return None
