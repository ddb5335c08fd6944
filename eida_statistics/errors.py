"""One tree of everything that can go wrong and that a person can do something about.

The docstring of a class is its title, the subject and the hint belong to the one case. The edges (command
line, HTTP) show an error once; nothing in between catches these.
"""

from collections.abc import Sequence
from typing import ClassVar

PROBLEM_PREFIX = "urn:eida-statistics:problem:"


class EidaStatisticsError(Exception):
    """Something went wrong."""

    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    problem: ClassVar[str] = "internal-error"
    """Last part of the RFC 9457 problem type."""
    is_failed_attempt: ClassVar[bool] = False
    """Whether it counts against clients that keep sending bad tokens, see MAX_FAILURES_PER_MINUTE."""

    def __init__(self, subject: str = "", *, hint: str = "") -> None:
        self.subject = subject
        self.hint = hint
        super().__init__(subject)

    @property
    def members(self) -> dict[str, object]:
        """The further members of its RFC 9457 problem details."""
        return {}

    @property
    def title(self) -> str:
        """The docstring's first line, without its full stop."""
        return (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")

    def __str__(self) -> str:
        told = f"{self.title}: {self.subject}" if self.subject else self.title
        return f"{told}\n{self.hint}" if self.hint else told


class ConfigurationError(EidaStatisticsError):
    """The configuration cannot be used."""

    exit_code = 2
    problem = "configuration"


# Sketches and payloads


class InvalidSketch(EidaStatisticsError):
    """Not a HyperLogLog sketch of log2m 11, regwidth 5."""

    http_status = 422
    problem = "invalid-sketch"


class NotJSON(EidaStatisticsError):
    """The payload is not JSON."""

    http_status = 400
    problem = "not-json"


class InvalidPayload(EidaStatisticsError):
    """The payload has bad fields."""

    http_status = 422
    problem = "invalid-payload"

    def __init__(self, errors: Sequence[tuple[str, str]], *, hint: str = "") -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.errors[:5]), hint=hint)

    @property
    def members(self) -> dict[str, object]:
        """The path to each bad field, and the reason."""
        return {"errors": [{"path": path, "message": message} for path, message in self.errors]}


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


# Networks


class RegistryUnavailable(EidaStatisticsError):
    """There is no registry of networks, and the log has temporary network codes."""

    problem = "no-registry"


class InvalidRegistry(EidaStatisticsError):
    """This is not a registry of networks as the FDSN networks/1 service gives it."""

    problem = "invalid-registry"


# The aggregator


class UnreadableLog(EidaStatisticsError):
    """The log cannot be read, so nothing was written."""


class NotReady(EidaStatisticsError):
    """The log of a day is not ready."""


class WorkerLost(EidaStatisticsError):
    """One of the processes that read the logs was killed, so nothing was written."""


class DaskUnusable(ConfigurationError):
    """--dask cannot be used here."""


class ClusterUnavailable(EidaStatisticsError):
    """The Dask cluster cannot be used."""


class InvalidClientClasses(ConfigurationError):
    """This is not a table of client classes."""


class NothingToAggregate(EidaStatisticsError):
    """There is nothing to aggregate."""


class AggregateExists(EidaStatisticsError):
    """An aggregate file for these days exists and has other content."""


class AlreadyDelivered(EidaStatisticsError):
    """These days were sent before, so nothing was written."""


class UnclearPeriod(EidaStatisticsError):
    """It is not clear for which days these logs stand, so nothing was written."""


class StartUnknown(EidaStatisticsError):
    """It is not known where to begin, so nothing was sent."""


class UnwritableDirectory(EidaStatisticsError):
    """The output directory cannot be written."""


class DirectoryInUse(EidaStatisticsError):
    """Another run uses the output directory."""

    exit_code = 0


class NotDelivered(EidaStatisticsError):
    """The aggregate file could not be delivered and waits for the next run."""

    exit_code = 3

    def __init__(self, subject: str = "", *, hint: str = "", may_have_arrived: bool = False) -> None:
        self.may_have_arrived = may_have_arrived
        super().__init__(subject, hint=hint)


class ServiceFault(NotDelivered):
    """The service failed with the aggregate file, which waits for the next run."""


class ServiceSilent(ServiceFault):
    """The service did not say what must be known before anything is sent, so nothing was."""


class OtherNode(NotDelivered):
    """The token is of another node than before, so nothing was sent."""


class PathUnknown(NotDelivered):
    """The URL is not that of the service, so the aggregate file waits for the right one."""


class PayloadRefused(NotDelivered):
    """The service refused the aggregate file, which stays queued."""


class DeliveryOvertaken(PayloadRefused):
    """Something else was sent for these days in the meantime, so the aggregate file waits for the next run."""


class PayloadHeld(PayloadRefused):
    """The service has other statistics of these days, so the aggregate file waits for your decision.

    Args:
        name: the file.
        reason: the answer of the service, which is the same for files that are held for the same reason.
        hint: the choices of the operator.
    """

    def __init__(self, name: str, reason: str, *, hint: str) -> None:
        self.names = [name]
        self.reason = reason
        super().__init__(f"{name} to {reason}", hint=hint)


class ReplacedUnknown(PayloadHeld):
    """There is no such payload to be replaced, so the aggregate file waits for your decision."""


# The service


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


# The store


class StoreUnavailable(EidaStatisticsError):
    """The database cannot be reached."""

    http_status = 503
    problem = "database-unavailable"


class StoreTooSlow(StoreUnavailable):
    """The database takes too long."""

    problem = "database-too-slow"


class StoreLocked(StoreTooSlow):
    """The database is busy with another change."""


class StoreReadOnly(StoreUnavailable):
    """The database can only be read."""


class StoreFull(StoreUnavailable):
    """The disk of the database is full."""

    problem = "database-full"


class StoreFault(EidaStatisticsError):
    """The database reported an error that was not foreseen."""


class StoreNotReady(EidaStatisticsError):
    """The database has no up-to-date schema."""

    http_status = 503
    problem = "database-not-ready"


class StoreMissing(StoreNotReady):
    """There is no such database file."""


class StoreNotEmpty(EidaStatisticsError):
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


class StoreHasOtherTables(StoreNotEmpty):
    """The database has tables or types of the same name that are not of this service."""


class BadRows(NotTakenOver):
    """Rows of the old database cannot be taken over, so nothing was."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count:,} of them",
            hint="Correct or delete them, there or in a copy, and run this again. Or leave them out: --skip-bad.",
        )


class StoreForbidden(EidaStatisticsError):
    """The database does not let this role do that."""

    http_status = 503
    problem = "database-forbidden"


class StoreHidesMigrations(StoreForbidden):
    """The service lacks the right to read which migrations the database has."""


class RefusedByStore(EidaStatisticsError):
    """The database refused these statistics, and nothing of them was stored."""

    http_status = 422
    problem = "refused-by-database"


class StoreLacksCharacter(RefusedByStore):
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
