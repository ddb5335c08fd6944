"""Nodes, networks and tokens, and who may see restricted statistics."""

import datetime
import hashlib
import secrets

import msgspec

OTHER = "Other"
"""The name of a row that sums up hidden rows. No node or network is called so."""
GROUP_PREFIX = "/epos/"


def group_name(text: str) -> str:
    """Return the name of a group of the EIDA authentication system, which its tokens write after /epos/."""
    return text.removeprefix(GROUP_PREFIX)


def is_node_name(text: str) -> bool:
    """Return whether a node can have a name: some stand for several nodes in answers, and questions have lists."""
    return (
        text == text.strip()
        and 0 < len(text) <= 64
        and text.isprintable()
        and "," not in text
        and text not in (OTHER, "*")
    )


class Node(msgspec.Struct, frozen=True):
    """A node as its token names it."""

    id: int
    name: str


class Arrival(msgspec.Struct, frozen=True):
    """The moment when a node's request arrived, and the token that it carried.

    Attributes:
        revision: that of the node at this moment. The request must not undo what has changed since then.
        token: the id of the token, which may be revoked before the request is carried out.
    """

    revision: int
    token: int


class Sender(msgspec.Struct, frozen=True):
    """The node that sends a request, as its token says, and until when the token is valid."""

    node: Node
    arrival: Arrival
    token_valid_until: datetime.datetime


class NodeRecord(msgspec.Struct, frozen=True):
    """A node as the administrator sees it; `contact` is the node's, not a user's."""

    name: str
    contact: str
    created_at: datetime.datetime
    payloads: int
    last_payload: datetime.datetime | None
    restriction_policy: bool
    eas_group: str | None


class NetworkRecord(msgspec.Struct, frozen=True):
    """A network at one of its nodes: whether it is restricted there, and whose members see it nevertheless."""

    name: str
    node: str
    restricted: bool
    inverted_policy: bool
    eas_group: str | None
    node_eas_group: str | None

    def seen_by(self, viewer: "Viewer") -> bool:
        """Return whether somebody sees its statistics; the query for statistics decides the same."""
        groups = {self.eas_group, self.node_eas_group} - {None}
        return not self.restricted or not groups.isdisjoint(viewer.groups) or self.name in viewer.networks


class TokenRecord(msgspec.Struct, frozen=True):
    """A token as the administrator sees it, of a node or for a network; only who holds it knows its value."""

    id: int
    node: str | None
    network: str | None
    valid_from: datetime.datetime
    valid_until: datetime.datetime
    revoked_at: datetime.datetime | None
    created_at: datetime.datetime

    def state(self, now: datetime.datetime) -> str:
        """Return whether it can be used."""
        if self.revoked_at is not None:
            return "revoked"
        if now < self.valid_from:
            return "not yet valid"
        return "valid" if now < self.valid_until else "expired"


class Viewer(msgspec.Struct, frozen=True):
    """A client: the groups of which it is a member, and the networks that its token opens."""

    groups: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


PUBLIC = Viewer()


def new_token() -> str:
    """Make a token: 256 random bits, in characters that fit into a header and a URL."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return the digest of a token that is stored. It needs neither salt nor slowness: all 256 bits are random.

    Tokens are looked up by it. The time of that may reveal digests, but nobody can choose the digest of a guess.
    """
    return hashlib.sha256(token.encode()).hexdigest()
