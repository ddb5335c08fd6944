"""Side files of earlier versions."""

from typing import Any, Literal

import msgspec

from eida_stats_aggregator.delivery.state import DeliveryState, Record, Terms
from eida_stats_aggregator.delivery.urls import find_base_url


class _Receipt(msgspec.Struct):
    url: str
    hash: str
    sent_at: str
    answer: str


class _Dispatch(msgspec.Struct):
    hash: str
    queued: list[str] = []
    corrections: list[str] = []
    sent: list[_Receipt] = []
    attempted: dict[str, str] = {}
    named: dict[str, list[int]] = {}


def decode_state(content: bytes) -> DeliveryState:
    """Return a state from its JSON form, or from that of earlier versions.

    Raises:
        msgspec.DecodeError: if it is neither.
    """
    document = msgspec.json.decode(content, type=dict[str, Any])
    if "hash" not in document:
        return msgspec.convert(document, DeliveryState)
    old = msgspec.convert(document, _Dispatch)
    records = {
        find_base_url(receipt.url): Record("delivered", receipt.hash, answer=receipt.answer, at=receipt.sent_at)
        for receipt in old.sent
    }
    for url in old.queued:
        earlier = records.get(find_base_url(url))
        names = [] if earlier is None else [earlier.content]
        names += [str(number) for number in old.named.get(url, [])]
        terms = Terms(bool(names) or url in old.corrections, tuple(names))
        state: Literal["unknown", "pending"] = "unknown" if url in old.attempted else "pending"
        content_sent = old.attempted.get(url, "" if earlier is None else earlier.content)
        records[find_base_url(url)] = Record(state, content_sent, terms)
    return DeliveryState(old.hash, records, legacy=True)
