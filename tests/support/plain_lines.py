"""Lines that are parsed many at once, as single requests."""

import datetime

import numpy as np

from eida_stats_aggregator.fdsnws.log_lines import Ignored
from eida_stats_aggregator.fdsnws.plain_lines import PlainLines
from eida_stats_aggregator.fdsnws.request_log import Request


def parse_plain(text: bytes, latest: datetime.date = datetime.date.max) -> list[Request | Ignored] | None:
    """Return the requests of whole lines, then all ignored lines; None if a line is not plain."""
    found = PlainLines().parse(text, latest)
    if found is None:
        return None
    starts = dict(zip(np.flatnonzero(found.is_temporary).tolist(), found.starts, strict=True))
    deliveries = [
        (found.known[stream], starts.get(place), size)
        for place, (stream, size) in enumerate(zip(found.streams.tolist(), found.sizes.tolist(), strict=True))
    ]
    requests: list[Request | Ignored] = []
    for day, country, client, agent, key, failed, count in zip(
        found.days,
        found.countries,
        found.clients,
        found.agents,
        found.make_keys().tolist(),
        found.is_failed,
        found.counts,
        strict=True,
    ):
        mine, deliveries = deliveries[:count], deliveries[count:]
        assert not failed or not mine
        requests.append(Request(day, country, client, None if failed else mine, agent, key))
    assert not deliveries
    return requests + [Ignored() for _ in range(found.ignored)]
