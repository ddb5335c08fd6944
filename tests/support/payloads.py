"""Payloads for tests, as nodes send them."""

import datetime
import json
from collections.abc import Iterable
from typing import Any

from eida_statistics import hll
from eida_statistics.payload import Payload
from eida_statistics.wire import decode

TODAY = datetime.date(2026, 11, 22)


def sketch(clients: Iterable[int]) -> str:
    return hll.to_hex(hll.encode(clients))


def row(**fields: Any) -> dict[str, Any]:
    return {
        "month": "2026-10-01",
        "network": "GE",
        "station": "EIL",
        "location": "",
        "channel": "BHZ",
        "country": "DE",
        "bytes": 512,
        "nb_requests": 1,
        "nb_successful_requests": 1,
        "nb_unsuccessful_requests": 0,
        "clients": sketch([1]),
    } | fields


def wire(*rows: Any, **fields: Any) -> dict[str, Any]:
    return {
        "generated_at": "2026-11-01 03:00:00",
        "version": "0.8.1",
        "days_coverage": ["2026-10-14"],
        "aggregation_score": 2,
        "stats": list(rows),
    } | fields


def payload(*rows: Any, **fields: Any) -> Payload:
    return decode(json.dumps(wire(*rows, **fields)).encode(), today=TODAY)
