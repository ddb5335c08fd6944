"""The base of all errors that a person can correct, and the errors that both programs raise.

The docstring of a class is its title; the subject and the hint belong to the single case. Only the edges (command
line, HTTP) catch and show these errors.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
    headers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The HTTP headers of the answer."""
    is_reason_public: ClassVar[bool] = False
    """For a status of 500 or more: whether the client sees the reason, and the log has a warning, not an error."""
    logs_traceback: ClassVar[bool] = True
    """For a status of 500 or more: whether the log has a traceback."""

    def __init__(
        self, subject: str = "", *, hint: str = "", members: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        self.subject = subject
        self.hint = hint
        # Of its RFC 9457 problem details, beside the usual ones.
        self.members = dict(members)
        super().__init__(subject)

    @property
    def title(self) -> str:
        """The docstring's first line, without its full stop."""
        return (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")

    def __str__(self) -> str:
        text = f"{self.title}: {self.subject}" if self.subject else self.title
        return f"{text}\n{self.hint}" if self.hint else text


class ConfigurationError(EidaStatisticsError):
    """The configuration cannot be used."""

    exit_code = 2
    problem = "configuration"


class HomeUnknown(ConfigurationError):
    """The user of this process has no home directory."""


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
        super().__init__(
            "; ".join(f"{path}: {message}" for path, message in self.errors[:5]),
            hint=hint,
            members={"errors": [{"path": path, "message": message} for path, message in self.errors]},
        )


class InvalidRecords(EidaStatisticsError):
    """The records of connections are not valid."""

    http_status = 400
    problem = "invalid-records"


class RegistryUnavailable(EidaStatisticsError):
    """There is no registry of networks, which temporary network codes need."""

    problem = "no-registry"


class InvalidRegistry(EidaStatisticsError):
    """This is not a registry of networks in the format of the FDSN networks/1 service."""

    problem = "invalid-registry"


class ForeignLog(EidaStatisticsError):
    """This is no transfer log of a ringserver."""

    http_status = 422
    problem = "foreign-log"


class UnreadableLog(EidaStatisticsError):
    """The log cannot be read, so nothing was written."""

    http_status = 422
    problem = "unreadable-log"


class InvalidClientClasses(ConfigurationError):
    """This is not a table of client classes."""
