"""What is sent of a day, by its records and those that were delivered."""

import pytest

from eida_stats_aggregator.delivery.state import Record
from eida_stats_aggregator.ringserver.decisions import Step, choose_step

A, B = b"a" * 16, b"b" * 16
DELIVERED = Record("delivered")


@pytest.mark.parametrize(
    ("record", "delivered", "found", "step"),
    [
        (None, {}, {A: 1}, Step.SEND),
        (None, {}, {}, Step.SEND),  # a quiet day
        (DELIVERED, {A: 1}, {A: 1}, Step.SKIP),
        (DELIVERED, {}, {}, Step.SKIP),
        (DELIVERED, {A: 1}, {A: 1, B: 1}, Step.CORRECT),
        (DELIVERED, {A: 1}, {A: 2}, Step.CORRECT),
        (DELIVERED, {}, {A: 1}, Step.CORRECT),
        (DELIVERED, {A: 1, B: 1}, {A: 1}, Step.KEEP),
        (DELIVERED, {A: 2}, {A: 1}, Step.KEEP),
        (DELIVERED, {A: 1}, {}, Step.KEEP),
        (DELIVERED, {A: 1}, {B: 1}, Step.REFUSE),
        (DELIVERED, {A: 2}, {A: 1, B: 1}, Step.REFUSE),
        (Record("pending"), {A: 1}, {A: 1}, Step.RESEND),
        (Record("unknown"), {A: 1}, {}, Step.RESEND),
        (Record("pending"), {A: 1}, {A: 1, B: 1}, Step.CORRECT),
        (Record("unknown"), {A: 1}, {B: 1}, Step.REFUSE),
        (Record("held"), {A: 1}, {A: 1}, Step.RESEND),
        (Record("held"), {A: 1}, {A: 1, B: 1}, Step.CORRECT),
        (Record("held"), {A: 1}, {B: 1}, Step.REFUSE),
    ],
)
def test_records_decide(
    record: Record | None, delivered: dict[bytes, int], found: dict[bytes, int], step: Step
) -> None:
    assert choose_step(record, delivered, found, has_same_key=True, replaces=False) is step
    other_key = Step.SEND if record is None else Step.REFUSE_KEY
    assert choose_step(record, delivered, found, has_same_key=False, replaces=False) is other_key
    replaced = Step.SEND if record is None else Step.CORRECT
    assert choose_step(record, delivered, found, has_same_key=False, replaces=True) is replaced
