"""Errors that a client or an administrator can do something about."""

from collections.abc import Sequence

from eida_statistics.errors import EidaStatisticsError


class DuplicatePayload(EidaStatisticsError):
    """This payload was received before.

    Args:
        payload: the number of the payload that has these statistics and is in force.
        digest: its hash.
        received_at: when it was received.
    """

    http_status = 409
    problem = "duplicate"

    def __init__(self, payload: int, digest: str, received_at: str) -> None:
        self.payload = payload
        self.hash = digest
        self.received_at = received_at
        super().__init__(f"payload {payload} has the same statistics and was received at {received_at}")

    @property
    def members(self) -> dict[str, object]:
        """Which payload it is, and when it was received."""
        return {"payload": self.payload, "hash": self.hash, "received_at": self.received_at}


class OverlappingPayload(EidaStatisticsError):
    """Payloads in force cover some of these days, so nothing was stored.

    Args:
        subject: which payloads these are.
        payloads: the same for programs, in a form that can be written as JSON.
        choices: the choices of the sender, a sentence or two for each.
    """

    http_status = 409
    problem = "overlapping-payload"

    def __init__(self, subject: str, payloads: Sequence[object], *, choices: Sequence[str]) -> None:
        self.payloads = list(payloads)
        self.choices = list(choices)
        super().__init__(subject, hint=" ".join(choices))

    @property
    def members(self) -> dict[str, object]:
        """The payloads in question, and the choices."""
        return {"payloads": self.payloads, "choices": self.choices}


class AmbiguousReplacement(OverlappingPayload):
    """It is not clear whether this payload replaces others, so nothing was changed."""

    problem = "ambiguous-replacement"


class Overtaken(EidaStatisticsError):
    """Another request was faster, and this one must not undo what that has done."""

    http_status = 409
    problem = "overtaken"


class Differences(EidaStatisticsError):
    """The statistics are not those of the payloads."""

    problem = "differences"


class DamagedPayload(EidaStatisticsError):
    """A payload that was kept cannot be read."""

    problem = "damaged-payload"


class UnknownPayload(EidaStatisticsError):
    """There is no such payload.

    Args:
        payloads: the numbers or hashes by which they were named.
        hint: what to do.
    """

    http_status = 404
    problem = "unknown-payload"

    def __init__(self, *payloads: str, hint: str = "") -> None:
        self.payloads = payloads
        super().__init__(", ".join(payloads), hint=hint)

    @property
    def members(self) -> dict[str, object]:
        """The names as the client wrote them."""
        return {"unknown": list(self.payloads)}


class UnrelatedPayload(UnknownPayload):
    """A payload that is named shares no day with this one, so it cannot be replaced."""

    http_status = 409


class MissingToken(EidaStatisticsError):
    """A token is needed."""

    http_status = 401
    problem = "missing-token"
    is_failed_attempt = True


class RefusedToken(EidaStatisticsError):
    """This token is unknown, revoked or not yet valid."""

    http_status = 403
    problem = "refused-token"
    is_failed_attempt = True


class ExpiredToken(RefusedToken):
    """This token has expired."""

    problem = "expired-token"


class TooManyFailures(EidaStatisticsError):
    """Too many requests with bad tokens have come from here."""

    http_status = 429
    problem = "too-many-failures"


class InvalidEasToken(EidaStatisticsError):
    """This is no valid token of the EIDA authentication system."""

    http_status = 401
    problem = "invalid-eas-token"
    is_failed_attempt = True


class EasUnavailable(EidaStatisticsError):
    """Tokens of the EIDA authentication system cannot be verified now."""

    http_status = 503
    problem = "eas-unavailable"


class EasTooSlow(EasUnavailable):
    """This token could not be verified in time."""

    # Else a client could keep the service busy with tokens that take long.
    is_failed_attempt = True


class RestrictedNetwork(EidaStatisticsError):
    """The statistics of this network are not public."""

    http_status = 401
    problem = "restricted-network"


class ForbiddenNetwork(EidaStatisticsError):
    """You may not see the statistics of this network."""

    http_status = 403
    problem = "forbidden-network"
    is_failed_attempt = True


class NothingFound(EidaStatisticsError):
    """There are no such statistics."""

    http_status = 404
    problem = "nothing-found"


class BadParameter(EidaStatisticsError):
    """The request has a parameter or value that is not understood."""

    http_status = 400
    problem = "bad-parameter"


class UnreadableBody(EidaStatisticsError):
    """The body cannot be read."""

    http_status = 400
    problem = "unreadable-body"


class ClientGone(EidaStatisticsError):
    """The client has closed its end of the connection, so nothing was done."""

    http_status = 400
    problem = "client-gone"


class TooSlow(EidaStatisticsError):
    """The body did not come in time."""

    http_status = 408
    problem = "too-slow"


class TooLarge(EidaStatisticsError):
    """The payload is too large."""

    http_status = 413
    problem = "too-large"


class Busy(EidaStatisticsError):
    """The service has too much to do at present."""

    http_status = 503
    problem = "busy"


class UnsupportedMediaType(EidaStatisticsError):
    """The body is of a type that is not understood."""

    http_status = 415
    problem = "unsupported-media-type"


class DatabaseUnavailable(EidaStatisticsError):
    """The database cannot be reached."""

    http_status = 503
    problem = "database-unavailable"


class DatabaseTooSlow(DatabaseUnavailable):
    """The database takes too long."""

    problem = "database-too-slow"


class DatabaseLocked(DatabaseTooSlow):
    """The database is busy with another change."""


class DatabaseReadOnly(DatabaseUnavailable):
    """The database can only be read."""


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database is full."""

    problem = "database-full"


class DatabaseFault(EidaStatisticsError):
    """The database reported an error that was not foreseen."""


class DatabaseNotReady(EidaStatisticsError):
    """The database has no up-to-date schema."""

    http_status = 503
    problem = "database-not-ready"


class DatabaseMissing(DatabaseNotReady):
    """There is no such database file."""


class DatabaseNotEmpty(EidaStatisticsError):
    """This takes an empty database."""

    http_status = 409
    problem = "database-not-empty"


class UnknownRole(EidaStatisticsError):
    """The database has no such role."""

    http_status = 404
    problem = "unknown-role"


class NotUpstream(EidaStatisticsError):
    """This is no database of the service that was deployed before."""

    problem = "not-upstream"


class NotTakenOver(EidaStatisticsError):
    """Something in the old database cannot be taken over, so nothing was."""

    problem = "not-taken-over"


class DatabaseHasOtherTables(DatabaseNotEmpty):
    """The database has tables or types of the same name that are not of this service."""


class BadRows(NotTakenOver):
    """Rows of the old database cannot be taken over, so nothing was."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count:,} of them",
            hint="Correct or delete them, there or in a copy, and run this again. Or leave them out: --skip-bad.",
        )


class DatabaseForbidden(EidaStatisticsError):
    """The database does not let this role do that."""

    http_status = 503
    problem = "database-forbidden"


class DatabaseHidesMigrations(DatabaseForbidden):
    """The service lacks the right to read which migrations the database has."""


class RefusedByDatabase(EidaStatisticsError):
    """The database refused these statistics, and nothing of them was stored."""

    http_status = 422
    problem = "refused-by-database"


class DatabaseLacksCharacter(RefusedByDatabase):
    """The database cannot store a character, and nothing was stored."""


class UnknownNode(EidaStatisticsError):
    """There is no such node."""

    http_status = 404
    problem = "unknown-node"


class UnknownNetwork(EidaStatisticsError):
    """There is no such network."""

    http_status = 404
    problem = "unknown-network"


class NodeExists(EidaStatisticsError):
    """A node of this name exists."""

    http_status = 409
    problem = "node-exists"


class UnknownToken(EidaStatisticsError):
    """There is no such token."""

    http_status = 404
    problem = "unknown-token"
