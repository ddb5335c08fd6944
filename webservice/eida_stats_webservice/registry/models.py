"""Records of nodes, networks, tokens and viewers."""

import datetime
import hashlib
import secrets

import msgspec

from eida_stats_webservice.errors import ExpiredToken, RefusedToken

OTHER = "Other"
"""The name of the row that sums up suppressed rows. No node or network may have this name."""
GROUP_PREFIX = "/epos/"


def strip_group_prefix(text: str) -> str:
    """Return the name of a group without /epos/, the prefix in tokens of the EIDA authentication system."""
    return text.removeprefix(GROUP_PREFIX)


def is_node_name(text: str) -> bool:
    """Return whether a node can have this name. Commas separate names in queries; some names are reserved."""
    return (
        text == text.strip()
        and 0 < len(text) <= 64
        and text.isprintable()
        and "," not in text
        and text not in (OTHER, "*")
    )


class Node(msgspec.Struct, frozen=True):
    """A node."""

    id: int
    name: str


class Arrival(msgspec.Struct, frozen=True):
    """The state of the node and its token when a request arrived.

    Attributes:
        revision: the revision of the node. The request must not undo later changes.
        token: the id of the token, which may be revoked while the request waits.
    """

    revision: int
    token: int


class Sender(msgspec.Struct, frozen=True):
    """The authenticated node that sends a request, and the end of its token."""

    node: Node
    arrival: Arrival
    token_valid_until: datetime.datetime


class NodeRecord(msgspec.Struct, frozen=True):
    """A node as the administrator sees it. `contact` is an address of the node, not of a user."""

    name: str
    contact: str
    created_at: datetime.datetime
    payloads: int
    last_payload: datetime.datetime | None
    restriction_policy: bool
    eas_group: str | None


class NetworkRecord(msgspec.Struct, frozen=True):
    """A network at one of its nodes: whether it is restricted, and the groups that may see it."""

    name: str
    node: str
    restricted: bool
    inverted_policy: bool
    eas_group: str | None
    node_eas_group: str | None

    def is_visible_to(self, viewer: "Viewer") -> bool:
        """Return whether a viewer may see its statistics. The statistics query applies the same rule."""
        groups = {self.eas_group, self.node_eas_group} - {None}
        return not self.restricted or not groups.isdisjoint(viewer.groups) or self.name in viewer.networks


class TokenRecord(msgspec.Struct, frozen=True):
    """A token of a node or of a network's operator, without its value, which is not stored."""

    id: int
    node: str | None
    network: str | None
    valid_from: datetime.datetime
    valid_until: datetime.datetime
    revoked_at: datetime.datetime | None
    created_at: datetime.datetime

    def get_state(self, now: datetime.datetime) -> str:
        """Return the state for the administrator: valid, not yet valid, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if now < self.valid_from:
            return "not yet valid"
        return "valid" if now < self.valid_until else "expired"


class TokenPeriod(msgspec.Struct, frozen=True):
    """The time in which a token is valid, unless it was revoked."""

    valid_from: datetime.datetime
    valid_until: datetime.datetime
    revoked_at: datetime.datetime | None

    def check(self, now: datetime.datetime) -> None:
        """Check that the token is valid. A revoked token is refused like an unknown one.

        Raises:
            ExpiredToken: if it has expired.
            RefusedToken: if it is not yet valid, or was revoked.
        """
        if self.revoked_at is not None or now < self.valid_from:
            raise RefusedToken
        if now >= self.valid_until:
            raise ExpiredToken(
                f"it was valid until {self.valid_until.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC",
                hint="Ask the central administrator for a new one.",
            )


class Viewer(msgspec.Struct, frozen=True):
    """The rights of a client: its groups, and the networks that its token opens."""

    groups: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


PUBLIC = Viewer()
"""A client without a token."""


def create_token() -> str:
    """Return a new token: 256 random bits, encoded for headers and URLs."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the digest under which a token is stored and looked up.

    A fast hash without salt is safe, since all 256 bits are random. The duration of a look-up may reveal digests,
    but nobody can choose a token by its digest.
    """
    return hashlib.sha256(token.encode()).hexdigest()
