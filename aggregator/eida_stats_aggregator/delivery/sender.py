"""Send the queue of an outbox, and keep the results."""

import datetime
import gzip
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import structs

from eida_statistics.errors import EidaStatisticsError
from eida_stats_aggregator.console import format_list
from eida_stats_aggregator.delivery.client import ServiceClient
from eida_stats_aggregator.delivery.outbox import Outbox
from eida_stats_aggregator.delivery.state import DeliveryState, Record
from eida_stats_aggregator.errors import (
    NotDelivered,
    OtherNode,
    PathUnknown,
    PayloadHeld,
    PayloadRefused,
    ServiceFault,
)

# After so many consecutive failures, the service is considered down.
_MAX_FAULTS = 3


class _Rows(msgspec.Struct):
    stats: list[msgspec.Raw]


class Sender:
    """Sends files to one service, and collects the results.

    `sent` has a line for each file that was delivered, `queued` the paths of those that wait for the next run,
    `held` those that wait for a decision of the operator, `failures` the errors, and `overlaps` a line for
    each file that counts although it overlaps with others.
    """

    def __init__(self, outbox: Outbox, client: ServiceClient) -> None:
        self.client = client
        self.sent: list[str] = []
        self.queued: list[str] = []
        self.held: list[str] = []
        self.overlaps: list[str] = []
        self.failures: list[EidaStatisticsError] = []
        self._outbox = outbox
        self._faults = 0
        self._stopped = False
        self._mistyped = False
        self._checked = False

    def send(self, paths: Sequence[Path], now: datetime.datetime) -> None:
        """Send files until the service cannot be reached; the others wait.

        Raises:
            UnwritableDirectory: if a result cannot be kept.
        """
        if paths and not self._checked:
            self._checked = True
            self._check_node(paths)
        for path in paths:
            state = self._outbox.get_state(path)
            record = state.records.get(self.client.base) if state is not None else None
            if state is None or record is None:
                continue  # a correction that was just delivered has taken its place
            if self._stopped:
                self.queued.append(str(path))
                if self._mistyped:
                    kept = structs.replace(record, mistyped=True)
                    self._outbox.save_state(path, state.replace_record(self.client.base, kept))
            else:
                self._send(path, state, record, now)

    def _check_node(self, paths: Sequence[Path]) -> None:
        """Send nothing with the token of another node than that for which the files of the directory count."""
        known = self._outbox.list_nodes(self.client.base)
        if not known:
            return
        try:
            node = self.client.find_token_node()
        except NotDelivered:
            return  # the first file fails in the same way
        if node is not None and node not in known:
            self._stopped = True
            names = format_list([path.name for path in paths])
            self.failures.append(
                OtherNode(
                    f"{names} to {self.client.url}: the token is that of node {node}, and the files of this"
                    f" directory count for {format_list(sorted(known))}",
                    hint="Use the right token. If the node was renamed, begin another directory: --since DAY.",
                )
            )

    def _send(self, path: Path, state: DeliveryState, record: Record, now: datetime.datetime) -> None:
        client, outbox = self.client, self._outbox
        # Another content was sent there before, or may have been.
        corrects = record.terms.replace or record.content not in ("", state.content)
        terms = structs.replace(record.terms, replace=corrects)
        body = path.read_bytes()
        # With the terms: if the answer is lost, a correction is sent as one again.
        attempted = structs.replace(record, terms=terms).mark_attempted(state.content)
        outbox.save_state(path, state.replace_record(client.base, attempted))
        try:
            answer = client.submit(path.name, body, terms, empty=_is_empty(body))
        except NotDelivered as failure:
            updated = self._update_record(failure, record, attempted)
            outbox.save_state(path, state.replace_record(client.base, updated))
            self._note(path, failure)
            return
        done = Record(
            "delivered",
            state.content,
            payload=answer.payload,
            node=answer.node,
            stored=answer.stored,
            answer=answer.answer,
            at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )
        outbox.save_state(path, state.replace_record(client.base, done))
        if corrects:
            outbox.drop_superseded(path, client.base)
        self._faults = 0
        self.sent.append(f"{path} to {client.url}: {answer.answer}")
        if answer.overlaps:
            others = format_list(answer.overlaps)
            self.overlaps.append(f"{path.name} counts beside {others}: their days are counted more than once")

    def _update_record(self, failure: NotDelivered, record: Record, attempted: Record) -> Record:
        if isinstance(failure, PayloadHeld):
            # The service does not have the same statistics, even if an earlier attempt may have arrived.
            sent = "" if record.content == attempted.content else record.content
            return structs.replace(record, state="held", content=sent, answer=failure.subject)
        # An earlier attempt may have arrived.
        if failure.may_have_arrived or record.state == "unknown":
            return attempted
        return structs.replace(record, mistyped=isinstance(failure, PathUnknown))

    def _note(self, path: Path, failure: NotDelivered) -> None:
        if isinstance(failure, PayloadHeld):
            self.held.append(str(path))
            self._note_held(failure)
            return
        self.queued.append(str(path))
        self.failures.append(failure)
        if isinstance(failure, ServiceFault):
            self._faults += 1
            self._stopped = self._faults >= _MAX_FAULTS
        elif not isinstance(failure, PayloadRefused):
            self._stopped = True
            self._mistyped = isinstance(failure, PathUnknown)

    def take_held(self) -> list[PayloadHeld]:
        """Return the errors about files that are held, and forget them."""
        held = [failure for failure in self.failures if isinstance(failure, PayloadHeld)]
        self.failures = [failure for failure in self.failures if not isinstance(failure, PayloadHeld)]
        return held

    def _note_held(self, failure: PayloadHeld) -> None:
        """Note why a file is held, once for all files with the same reason."""
        for other in self.failures:
            if isinstance(other, PayloadHeld) and other.reason == failure.reason:
                other.names += failure.names
                other.subject = f"{format_list(other.names)} to {other.reason}"
                return
        self.failures.append(failure)


def _is_empty(body: bytes) -> bool:
    return not msgspec.json.decode(gzip.decompress(body), type=_Rows).stats
