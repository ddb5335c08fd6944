"""The kinds of payloads, and the properties and sums that each kind has of its own."""

import datetime
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from eida_stats_webservice.payloads.identity import Identity
from eida_stats_webservice.registry.models import Node

_Payload_contra = TypeVar("_Payload_contra", contravariant=True)


class Kind(StrEnum):
    """The service whose statistics a payload has."""

    DATASELECT = "dataselect"
    RINGSERVER = "ringserver"


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A new payload in the form in which the table of payloads holds it.

    Attributes:
        rows: the number of its rows.
        body: its JSON, compressed with zstd.
        packed_rows: its rows column by column, from which corrections are computed faster; None for other kinds.
    """

    identity: Identity
    generated_at: str
    version: str
    rows: int
    body: bytes | bytearray
    packed_rows: bytes | bytearray | None = None


class PayloadKind(Protocol[_Payload_contra]):
    """The form and the sums of one kind of payloads; the rules of `payloads` are the same for all.

    All methods but `describe` take a connection in a transaction that has locked the node.
    """

    @property
    def kind(self) -> Kind:
        """The kind."""

    def describe(self, payload: _Payload_contra, /) -> Description:
        """Return the identity and the stored form of a payload."""

    def check_source(self, connection: Any, node: Node, new: Identity, /) -> None:
        """Check that payloads of this source are sent as such, and not made from raw logs.

        Raises:
            MixedDelivery: if they are made from raw logs.
        """

    def merge(self, connection: Any, node: Node, payload: _Payload_contra, /) -> None:
        """Add a new payload, which withdraws no other, to the sums of a node."""

    def rebuild(
        self, connection: Any, node: Node, withdrawn: Collection[Identity], added: _Payload_contra | None, /
    ) -> None:
        """Correct the sums of a node, after some payloads were withdrawn and one may have been added.

        `added` is None if the payload that replaces them was in force before.
        """


def list_days(payloads: Iterable[Identity]) -> set[datetime.date]:
    """Return the days of requests in payloads."""
    return set().union(*(one.days for one in payloads))
