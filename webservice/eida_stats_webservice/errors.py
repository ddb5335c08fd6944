"""Errors of the web service that a client or an administrator can act on.

The docstring of a class is its title. Its attributes say how HTTP and the log show it, see EidaStatisticsError.
"""

from collections.abc import Sequence

from eida_statistics.errors import EidaStatisticsError

_AUTHENTICATE = {"WWW-Authenticate": "Bearer"}
# The same request may succeed after so many seconds.
_RETRY_SOON = {"Retry-After": "30"}
_RETRY_IN_A_MINUTE = {"Retry-After": "60"}


class DuplicatePayload(EidaStatisticsError):
    """This payload was received before.

    Args:
        payload: the number of the payload in force that has the same statistics.
        digest: its hash.
        received_at: when the service received it.
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
        """Return the number and hash of the payload, and when it was received."""
        return {"payload": self.payload, "hash": self.hash, "received_at": self.received_at}


class OverlappingPayload(EidaStatisticsError):
    """Payloads in force cover some of these days, so nothing was stored.

    Args:
        subject: a description of the payloads.
        payloads: the payloads, in a form that can be encoded as JSON.
        choices: the choices of the sender, one or two sentences each.
    """

    http_status = 409
    problem = "overlapping-payload"

    def __init__(self, subject: str, payloads: Sequence[object], *, choices: Sequence[str]) -> None:
        self.payloads = list(payloads)
        self.choices = list(choices)
        super().__init__(subject, hint=" ".join(choices))

    @property
    def members(self) -> dict[str, object]:
        """Return the payloads and the choices."""
        return {"payloads": self.payloads, "choices": self.choices}


class AmbiguousReplacement(OverlappingPayload):
    """It is unclear which payloads this one replaces, so nothing was changed."""

    problem = "ambiguous-replacement"


class Overtaken(EidaStatisticsError):
    """Another request was faster, so nothing was changed."""

    http_status = 409
    problem = "overtaken"


class Differences(EidaStatisticsError):
    """The statistics differ from those of the payloads."""

    problem = "differences"


class DamagedPayload(EidaStatisticsError):
    """A stored payload cannot be read."""

    problem = "damaged-payload"


class UnknownPayload(EidaStatisticsError):
    """There is no such payload.

    Args:
        payloads: their numbers or hashes, as the client wrote them.
        hint: what the client should do.
    """

    http_status = 404
    problem = "unknown-payload"

    def __init__(self, *payloads: str, hint: str = "") -> None:
        self.payloads = payloads
        super().__init__(", ".join(payloads), hint=hint)

    @property
    def members(self) -> dict[str, object]:
        """Return the numbers or hashes as the client wrote them."""
        return {"unknown": list(self.payloads)}


class UnrelatedPayload(UnknownPayload):
    """A named payload shares no day with this one, so nothing was replaced."""

    http_status = 409


class MissingToken(EidaStatisticsError):
    """A token is needed."""

    http_status = 401
    problem = "missing-token"
    headers = _AUTHENTICATE
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
    """Your address has sent too many requests with bad tokens."""

    http_status = 429
    problem = "too-many-failures"
    headers = _RETRY_IN_A_MINUTE


class InvalidEasToken(EidaStatisticsError):
    """This is not a valid token of the EIDA authentication system."""

    http_status = 401
    problem = "invalid-eas-token"
    is_failed_attempt = True


class EasUnavailable(EidaStatisticsError):
    """Tokens of the EIDA authentication system cannot be verified at present."""

    http_status = 503
    problem = "eas-unavailable"
    headers = _RETRY_SOON
    logs_traceback = False


class EasTooSlow(EasUnavailable):
    """This token could not be verified in time."""

    is_reason_public = True
    # Otherwise a client could keep the service busy with tokens that take long to verify.
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
    """No statistics match the request."""

    http_status = 404
    problem = "nothing-found"


class ParquetMissing(EidaStatisticsError):
    """This service cannot write Parquet."""

    http_status = 501
    problem = "parquet-missing"
    is_reason_public = True


class BadParameter(EidaStatisticsError):
    """The parameters of the request are invalid."""

    http_status = 400
    problem = "bad-parameter"


class UnreadableBody(EidaStatisticsError):
    """The body cannot be read."""

    http_status = 400
    problem = "unreadable-body"


class ClientGone(EidaStatisticsError):
    """The client has closed the connection, so nothing was changed."""

    http_status = 400
    problem = "client-gone"


class TooSlow(EidaStatisticsError):
    """The body did not arrive in time."""

    http_status = 408
    problem = "too-slow"


class TooLarge(EidaStatisticsError):
    """The payload is too large."""

    http_status = 413
    problem = "too-large"


class Busy(EidaStatisticsError):
    """The service is busy."""

    http_status = 503
    problem = "busy"
    headers = _RETRY_SOON
    is_reason_public = True


class UnsupportedMediaType(EidaStatisticsError):
    """The body has an unsupported type."""

    http_status = 415
    problem = "unsupported-media-type"


class DatabaseUnavailable(EidaStatisticsError):
    """The database cannot be reached."""

    http_status = 503
    problem = "database-unavailable"
    headers = _RETRY_SOON
    logs_traceback = False


class DatabaseTooSlow(DatabaseUnavailable):
    """The database does not answer in time."""

    problem = "database-too-slow"
    is_reason_public = True


class DatabaseLocked(DatabaseTooSlow):
    """The database is busy with another change."""


class DatabaseReadOnly(DatabaseUnavailable):
    """The database is read-only."""


class DatabaseFull(DatabaseUnavailable):
    """The disk of the database is full."""

    problem = "database-full"


class DatabaseFault(EidaStatisticsError):
    """The database reported an unexpected error."""


class DatabaseNotReady(EidaStatisticsError):
    """The database schema is out of date."""

    http_status = 503
    problem = "database-not-ready"
    headers = _RETRY_SOON
    logs_traceback = False


class DatabaseMissing(DatabaseNotReady):
    """The database file does not exist."""


class DatabaseNotEmpty(EidaStatisticsError):
    """The database is not empty."""

    http_status = 409
    problem = "database-not-empty"


class UnknownRole(EidaStatisticsError):
    """The database has no such role."""

    http_status = 404
    problem = "unknown-role"


class NotUpstream(EidaStatisticsError):
    """This is not a database of the previous service."""

    problem = "not-upstream"


class NotTakenOver(EidaStatisticsError):
    """The old database cannot be imported."""

    problem = "not-taken-over"


class DatabaseHasOtherTables(DatabaseNotEmpty):
    """The database has tables or types of other software with the same names."""


class BadRows(NotTakenOver):
    """Rows of the old database cannot be imported, so nothing was imported."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count:,} of them",
            hint="Correct or delete them, there or in a copy, and run the import again. Or use --skip-bad.",
        )


class DatabaseForbidden(EidaStatisticsError):
    """This role lacks a right in the database."""

    http_status = 503
    problem = "database-forbidden"
    headers = _RETRY_SOON
    logs_traceback = False


class DatabaseHidesMigrations(DatabaseForbidden):
    """The service lacks the right to read the list of applied migrations."""


class RefusedByDatabase(EidaStatisticsError):
    """The database refused these statistics, so nothing was stored."""

    http_status = 422
    problem = "refused-by-database"


class DatabaseLacksCharacter(RefusedByDatabase):
    """The database cannot store a character, so nothing was stored."""


class UnknownNode(EidaStatisticsError):
    """There is no such node."""

    http_status = 404
    problem = "unknown-node"


class UnknownNetwork(EidaStatisticsError):
    """There is no such network."""

    http_status = 404
    problem = "unknown-network"


class NodeExists(EidaStatisticsError):
    """A node with this name exists already."""

    http_status = 409
    problem = "node-exists"


class UnknownToken(EidaStatisticsError):
    """There is no such token."""

    http_status = 404
    problem = "unknown-token"
