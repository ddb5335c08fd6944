"""What goes into the store and comes out of it."""

import datetime
import hashlib
import secrets

import msgspec


class Node(msgspec.Struct, frozen=True):
    """A node as its token names it."""

    id: int
    name: str


class NodeRecord(msgspec.Struct, frozen=True):
    """A node as the administrator sees it; `contact` is the node's, not a user's."""

    name: str
    contact: str
    created_at: datetime.datetime
    payloads: int
    last_payload: datetime.datetime | None


class TokenRecord(msgspec.Struct, frozen=True):
    """A token as the administrator sees it; its value is known to nobody but the node."""

    id: int
    node: str
    valid_from: datetime.datetime
    valid_until: datetime.datetime
    revoked_at: datetime.datetime | None
    created_at: datetime.datetime

    def state(self, now: datetime.datetime) -> str:
        """Tell whether it can be used."""
        if self.revoked_at is not None:
            return "revoked"
        if now < self.valid_from:
            return "not yet valid"
        return "valid" if now < self.valid_until else "expired"


class Receipt(msgspec.Struct, frozen=True):
    """That a payload is stored: rows and days are counted."""

    node: str
    payload: int
    hash: str
    rows: int
    days: int
    received_at: datetime.datetime


class Statistic(msgspec.Struct, frozen=True):
    """Sums over some months; `clients` is the estimate rounded up, `*` stands for all."""

    node: str
    network: str
    bytes: int
    nb_reqs: int
    nb_successful_reqs: int
    clients: int


def new_token() -> str:
    """Make a token: 256 random bits, in characters that fit into a header and a URL."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """What the store keeps of a token: no need for salt or slowness, since all 256 bits are random."""
    return hashlib.sha256(token.encode()).hexdigest()
