"""The delivery state of an aggregate file: its content, and its record at each service."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec import structs

from eida_statistics.payload import Period
from eida_stats_aggregator.delivery.urls import is_same_server
from eida_stats_aggregator.errors import AggregateExists, AlreadyDelivered


class Terms(msgspec.Struct, frozen=True):
    """How the operator wants a file to be counted.

    `replace`: as a correction, which supersedes what its source has of the period, and the payloads in `replaces`.
    `beside`: even if it overlaps with others.
    """

    replace: bool = False
    replaces: tuple[str, ...] = ()
    beside: bool = False

    @property
    def explicit(self) -> bool:
        """Whether the operator has decided anything."""
        return self.replace or self.beside


class Record(msgspec.Struct, frozen=True):
    """The record of a file at one service.

    `pending`: it is to be sent. `unknown`: it was sent, and the answer was lost. `delivered`: the service has it.
    `held`: the service has others for these days, and the operator must decide. `content` is that of the statistics
    that were sent last, `payload` their number at the service, and `node` the node for which they count. `stored`:
    the service did not have them already. `mistyped`: the service knows no such path.
    """

    state: Literal["pending", "unknown", "delivered", "held"]
    content: str = ""
    terms: Terms = Terms()
    payload: int | None = None
    node: str | None = None
    stored: bool = True
    answer: str = ""
    at: str = ""
    mistyped: bool = False

    @property
    def waits(self) -> bool:
        """Whether the next run sends it."""
        return self.state in ("pending", "unknown")

    def describe(self) -> str:
        """Return the state in words."""
        if self.state == "held":
            return "waits for your decision"
        if self.waits:
            return "waits for the next run"
        number = f", payload {self.payload}" if self.payload is not None else ""
        return f"{'delivered' if self.stored else 'already there'}{number}"

    def mark_attempted(self, content: str) -> "Record":
        """Return the record of a file that is being sent: until there is an answer, it may have arrived."""
        return structs.replace(self, state="unknown", content=content, mistyped=False)


class LogStamp(msgspec.Struct, frozen=True):
    """A log's size in bytes, and its time in nanoseconds since 1970: a change of it shows without opening it."""

    size: int
    mtime: int


class DeliveryState(msgspec.Struct, frozen=True):
    """The memory of a file: its content, by hash, and its records, by the base URL of the service.

    `logs` and `fingerprint` describe its logs, if they are known. `digests` stand for the transfer records in it.
    They are made with the key whose fingerprint is `key`; see `ringserver.collection`. `legacy` is set for a file
    of an earlier version, whose name has the days of its requests and not the period of its logs.
    """

    content: str
    records: dict[str, Record] = {}
    logs: dict[str, LogStamp] = {}
    fingerprint: str = ""
    digests: bytes = b""
    key: str = ""
    legacy: bool = False

    def counts_at(self, url: str) -> bool:
        """Return whether the file counts at a service, or will: a held file does not."""
        record = self.records.get(url)
        return record is not None and record.state != "held"

    def replace_record(self, url: str, record: Record) -> "DeliveryState":
        """Return the state with another record at a service."""
        return structs.replace(self, records=self.records | {url: record})


class Identity(NamedTuple):
    """The logs for which a file stands: a source and a period."""

    source: str
    period: Period


def plan_delivery(
    state: DeliveryState | None, content: str, url: str | None, terms: Terms, *, path: Path, source: str
) -> DeliveryState:
    """Return the state of a file with new content, which is to go to a service.

    Statistics that a service has are not sent again, unless the operator has decided how they are to be counted.

    Raises:
        AggregateExists: if there are or may be other statistics, here or there, and the operator has not decided.
    """
    state = state or DeliveryState(content)
    record = state.records.get(url or "")
    sent = record.content if record is not None else ""
    is_held = record is not None and record.state == "held"
    is_other = state.content != content or (url is not None and sent not in ("", content))
    # --beside is about other files. Other content of this one is a correction, unless it is held: then it does not
    # count yet.
    if is_other and not terms.replace and not (terms.beside and is_held):
        if source:
            hint = "Choose: --replace, if this is a correction; --source NAME, if it is the log of another server."
        else:
            hint = "If this is a correction: --replace. If it is of another server: --source for each."
        raise AggregateExists(f"{path}, which was sent to {url}" if sent else str(path), hint=hint)
    state = structs.replace(state, content=content, legacy=False)
    if url is None or (record is not None and record.state in ("delivered", "unknown") and not terms.explicit):
        return state
    if record is not None and record.waits and not sent:
        # As long as the first delivery waits, only the file changes.
        terms = terms if record.terms.explicit or terms.beside or terms.replaces else record.terms
    return state.replace_record(url, structs.replace(record or Record("pending"), state="pending", terms=terms))


def queue_overwritten(state: DeliveryState | None, content: str, url: str, terms: Terms) -> DeliveryState:
    """Return the state of a file that is overwritten, whatever it has, and is to go to a service.

    With other content, the file no longer shows what other services have. Their records are dropped, as if lost.
    """
    records = {} if state is None else state.records
    record = records.get(url, Record("pending"))
    if state is not None and state.content != content:
        records = {}
    queued = structs.replace(record, state="pending", terms=terms)
    return DeliveryState(content, records).replace_record(url, queued)


Step = Literal["aggregate", "check", "wait", "hold", "skip"]


def choose_step(
    record: Record | None, known: Mapping[str, LogStamp], logs: Mapping[str, LogStamp], *, decided: bool
) -> Step:
    """Return the next step for a day, by the record of its file, its logs as they were (`known`) and as they are.

    `aggregate`: its logs are read and sent. `check`: they have changed since they were delivered. `wait`: its file
    is in the queue. `hold`: its file waits for a decision of the operator. `skip`: it was delivered.
    """
    if record is None:
        return "aggregate"
    changed = known != logs
    if record.state == "delivered":
        return "check" if changed else "skip"
    if record.state == "held":
        return "aggregate" if decided else "hold"
    return "aggregate" if changed and record.state == "pending" else "wait"


def check_source(
    others: Iterable[tuple[str, Identity, DeliveryState]], source: str, fingerprint: str, url: str, terms: Terms
) -> None:
    """Check that the lines of a new file are not those of a file of another source: its name may be mistyped.

    Raises:
        AlreadyDelivered: if they are.
    """
    # Logs without lines are all the same.
    if terms.explicit or fingerprint in ("", "0"):
        return
    for name, other, state in others:
        if state.fingerprint == fingerprint and other.source != source and state.counts_at(url):
            raise AlreadyDelivered(
                f"these are the logs of {name}, of source {other.source or '(none)'}",
                hint="Correct --source. If both are to count: --beside.",
            )


def check_overlaps(
    others: Iterable[tuple[str, Identity, DeliveryState]], made: Identity, url: str, terms: Terms
) -> None:
    """Check that no other file counts for days of a new one. If the operator has decided, the service checks it.

    Raises:
        AlreadyDelivered: if one of them was sent there, or is to be sent.
    """
    found = {
        name: other.source
        for name, other, state in others
        if state.counts_at(url)
        and other.period.overlaps(made.period)
        and (other.source == made.source or "" in (other.source, made.source))
    }
    if found and not terms.explicit:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        if made.source in found.values():
            hint = (
                "Use --catch-up, which sends each day once; --replace, if this takes the place of those files;"
                " or --beside, if both are to count."
            )
        else:
            hint = (
                "A file without a source stands for the whole node. Use --source for each server, or for none."
                " If both are to count: --beside."
            )
        raise AlreadyDelivered(f"{made.period} overlaps with {next(iter(found))}{more}, sent to {url}", hint=hint)


def redirect(state: DeliveryState, url: str, *, mistyped_only: bool) -> DeliveryState:
    """Return a state with the queues of other services moved to this one.

    With `mistyped_only`, only files move that were queued for a wrong path on the same host and port.
    """
    moving = {
        other: record
        for other, record in state.records.items()
        if other != url and record.waits and (not mistyped_only or (record.mistyped and is_same_server(other, url)))
    }
    kept = {other: record for other, record in state.records.items() if other not in moving}
    for record in moving.values():
        here = kept.get(url)
        if here is None or (here.state == "delivered" and here.content != state.content):
            # Numbers of payloads are those of the service that has moved.
            terms = structs.replace(record.terms, replaces=(), replace=record.terms.replace or here is not None)
            kept[url] = structs.replace(record, terms=terms, mistyped=False)
    return structs.replace(state, records=kept)
