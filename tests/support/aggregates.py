"""Payloads of logs, with all their rows."""

import datetime

from msgspec import structs

from eida_statistics.payload import Exclusions, Payload
from eida_stats_aggregator.fdsnws.aggregation import Aggregation


def make_payload(
    aggregation: Aggregation, generated_at: datetime.datetime, excluded: Exclusions | None = None
) -> Payload:
    envelope, rows = aggregation.make_envelope(generated_at, excluded), aggregation.sort_rows()
    return structs.replace(envelope, stats=[row for number in range(len(rows)) for row in rows.make_piece(number)])
