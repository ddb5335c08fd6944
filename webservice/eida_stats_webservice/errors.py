"""Errors of the web service that a client or an administrator can act on. EidaStatisticsError explains them."""

from collections.abc import Sequence
from typing import ClassVar

from eida_statistics.errors import EidaStatisticsError


class _NotFound(EidaStatisticsError):
    """The request names something that does not exist."""

    http_status = 404


class Conflict(EidaStatisticsError):
    """The request conflicts with stored data."""

    http_status = 409


class Unavailable(EidaStatisticsError):
    """The same request may succeed later."""

    http_status = 503
    headers: ClassVar = {"Retry-After": "30"}
    logs_traceback = False


class DuplicatePayload(Conflict):
    """This payload was received before."""

    problem = "duplicate"


class OverlappingPayload(Conflict):
    """Payloads in force cover some of these days, so nothing was stored."""

    problem = "overlapping-payload"

    def __init__(self, subject: str, payloads: Sequence[object], *, choices: Sequence[str]) -> None:
        self.payloads = list(payloads)
        super().__init__(subject, hint=" ".join(choices), members={"payloads": payloads, "choices": choices})


class AmbiguousReplacement(OverlappingPayload):
    """It is unclear which payloads this one replaces, so nothing was changed."""

    problem = "ambiguous-replacement"


class Overtaken(Conflict):
    """Another request was faster, so nothing was changed."""

    problem = "overtaken"


class Differences(EidaStatisticsError):
    """The statistics differ from those of the payloads."""

    problem = "differences"


class DamagedPayload(EidaStatisticsError):
    """A stored payload cannot be read."""

    problem = "damaged-payload"


class ContainedPayload(EidaStatisticsError):
    """The body of this payload was deleted, because a later payload contains it."""

    problem = "contained-payload"


class UnknownPayload(_NotFound):
    """There is no such payload."""

    problem = "unknown-payload"

    def __init__(self, *payloads: str, hint: str = "") -> None:
        super().__init__(", ".join(payloads), hint=hint, members={"unknown": list(payloads)})


class UnrelatedPayload(UnknownPayload):
    """A named payload shares no day with this one, so nothing was replaced."""

    http_status = 409


class MissingToken(EidaStatisticsError):
    """A token is needed."""

    http_status = 401
    problem = "missing-token"
    headers: ClassVar = {"WWW-Authenticate": "Bearer"}
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
    headers: ClassVar = {"Retry-After": "60"}


class InvalidEasToken(EidaStatisticsError):
    """This is not a valid token of the EIDA authentication system."""

    http_status = 401
    problem = "invalid-eas-token"
    is_failed_attempt = True


class EasUnavailable(Unavailable):
    """Tokens of the EIDA authentication system cannot be verified at present."""

    problem = "eas-unavailable"


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


class NothingFound(_NotFound):
    """No statistics match the request."""

    problem = "nothing-found"


class ParquetMissing(EidaStatisticsError):
    """This service cannot write Parquet."""

    http_status = 501
    problem = "parquet-missing"
    is_reason_public = True


class PdfUnavailable(EidaStatisticsError):
    """This installation cannot write PDF."""

    http_status = 501
    problem = "pdf-unavailable"
    is_reason_public = True


class PdfFailed(Unavailable):
    """The PDF could not be made."""

    problem = "pdf-failed"
    is_reason_public = True


class BadParameter(EidaStatisticsError):
    """The parameters of the request are invalid."""

    http_status = 400
    problem = "bad-parameter"

    def __init__(self, subject: str, *, hint: str = "", parameter: str | None = None) -> None:
        self.parameter = parameter
        super().__init__(subject, hint=hint)


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


class DiskFull(Unavailable):
    """The service has no space for this body."""

    problem = "disk-full"
    is_reason_public = True


class Busy(Unavailable):
    """The service is busy."""

    problem = "busy"
    is_reason_public = True


class UnsupportedMediaType(EidaStatisticsError):
    """The body has an unsupported type."""

    http_status = 415
    problem = "unsupported-media-type"


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached."""

    problem = "database-unavailable"


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


class ForeignServerUnavailable(DatabaseUnavailable):
    """A server with some of the tables cannot be reached, or refuses the database server."""


class DatabaseFault(EidaStatisticsError):
    """The database reported an unexpected error."""


class DatabaseNotReady(Unavailable):
    """The database schema is out of date."""

    problem = "database-not-ready"


class DatabaseMissing(DatabaseNotReady):
    """The database file does not exist."""


class DatabaseNotEmpty(Conflict):
    """The database is not empty."""

    problem = "database-not-empty"


class UnknownRole(_NotFound):
    """The database has no such role."""

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


class DatabaseForbidden(Unavailable):
    """This role lacks a right in the database."""

    problem = "database-forbidden"


class DatabaseHidesMigrations(DatabaseForbidden):
    """The service lacks the right to read the list of applied migrations."""


class RefusedByDatabase(EidaStatisticsError):
    """The database refused these statistics, so nothing was stored."""

    http_status = 422
    problem = "refused-by-database"


class DatabaseLacksCharacter(RefusedByDatabase):
    """The database cannot store a character, so nothing was stored."""


class UnknownNode(_NotFound):
    """There is no such node."""

    problem = "unknown-node"


class UnknownNetwork(_NotFound):
    """There is no such network."""

    problem = "unknown-network"


class NodeExists(Conflict):
    """A node with this name exists already."""

    problem = "node-exists"


class UnknownToken(_NotFound):
    """There is no such token."""

    problem = "unknown-token"
