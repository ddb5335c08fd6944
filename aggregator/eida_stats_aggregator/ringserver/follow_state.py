"""The state file of a follower: the progress that the service has acknowledged.

The logs themselves are the outbox. If the file is lost, everything is sent again, and the service counts what it
has once.
"""

import datetime
import fcntl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from eida_statistics.files import write_file
from eida_stats_aggregator.errors import ForeignState, StateInUse, UnusableState

_AGAIN = "everything is then sent again, and the service counts what it has once"
# A log that was deleted may come back from a backup.
_KEPT = datetime.timedelta(days=60)


class LogProgress(msgspec.Struct, frozen=True):
    """The part of a log that was acknowledged.

    Attributes:
        offset: its bytes.
        line: the number of the line at the offset.
        tail: the keyed hash of the last bytes before the offset.
    """

    offset: int = 0
    line: int = 1
    tail: str = ""


class FileStamp(msgspec.Struct, frozen=True):
    """A file that was read to its end; `source` is that of its log, empty if it has no records."""

    size: int
    modified: int
    source: str = ""

    def is_same(self, other: Self) -> bool:
        """Return whether both are of the same content."""
        return (self.size, self.modified) == (other.size, other.modified)


class FollowState(msgspec.Struct):
    """The acknowledged progress.

    Attributes:
        service: the base URL of the service.
        instance: the ringserver.
        key: the fingerprint of the key.
        node: that of the token, empty if the service has not stated it.
        logs: by source.
        files: by path.
        server_start: the last start of the ringserver that was acknowledged.
        failed_since: the first failed request for the status since the last successful one.
        close_after: the seconds that were acknowledged, None if the rule is not in force, unset if the service has
            received neither.
    """

    service: str
    instance: str
    key: str
    node: str = ""
    logs: dict[str, LogProgress] = {}
    files: dict[str, FileStamp] = {}
    server_start: datetime.datetime | None = None
    failed_since: datetime.datetime | None = None
    close_after: int | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def is_unused(self) -> bool:
        """Whether the service has acknowledged nothing yet."""
        return not self.logs and self.server_start is None and self.close_after is msgspec.UNSET

    def forget_old(self, paths: Collection[str], now: datetime.datetime) -> None:
        """Drop files that do not exist any more, and their logs if they are old.

        Args:
            paths: those of all access logs.
            now: the present time.
        """
        self.files = {path: stamp for path, stamp in self.files.items() if path in paths}
        sources = {stamp.source for stamp in self.files.values()}
        # Sources sort by time.
        oldest = f"{now - _KEPT:%Y-%m-%d}"
        self.logs = {source: log for source, log in self.logs.items() if source in sources or source > oldest}


class StateFile:
    """The state file of a follower. A dry run neither locks nor writes it."""

    def __init__(self, path: Path, *, dry_run: bool = False) -> None:
        self._path = path
        self._dry_run = dry_run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the file against other followers. Its directory is created if it is missing.

        Raises:
            StateInUse: if another follower has locked it.
            UnusableState: if the lock cannot be created.
        """
        if self._dry_run:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = self._path.with_name(f"{self._path.name}.lock").open("w")
        except OSError as error:
            raise UnusableState(f"{self._path}: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateInUse(
                    str(self._path),
                    hint="Stop it first. For another ringserver: another --instance or --state FILE.",
                ) from None
            yield

    def load(self, service: str | None, instance: str, key: str) -> FollowState:
        """Return the state, a new one if there is no file. A state that was never used belongs to nothing.

        Args:
            service: its base URL, None for a dry run without one.
            instance: the ringserver.
            key: the fingerprint of the key.

        Raises:
            UnusableState: if the file cannot be read.
            ForeignState: if it is that of another service, ringserver or key.
        """
        try:
            state = msgspec.json.decode(self._path.read_bytes(), type=FollowState)
        except FileNotFoundError:
            return FollowState(service or "", instance, key)
        except OSError as error:
            raise UnusableState(f"{self._path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise UnusableState(f"{self._path} is damaged", hint=f"Delete it: {_AGAIN}.") from error
        service = service or state.service
        if (state.service, state.instance, state.key) != (service, instance, key) and state.is_unused:
            return FollowState(service, instance, key)
        other = f"Use the same as before, or another --state FILE: {_AGAIN}."
        if state.service != service:
            raise ForeignState(f"{self._path} is for the service {state.service}", hint=other)
        if state.instance != instance:
            raise ForeignState(f"{self._path} is for the ringserver {state.instance}", hint=other)
        if state.key != key:
            hint = "With another key, all files and sessions look new and would count twice. Use the key of before."
            raise ForeignState(f"{self._path} was written with another key", hint=hint)
        return state

    def save(self, state: FollowState) -> None:
        """Write the state.

        Raises:
            UnusableState: if it cannot be written.
        """
        if self._dry_run:
            return
        try:
            write_file(self._path, msgspec.json.encode(state))
        except OSError as error:
            raise UnusableState(f"{self._path} cannot be written: {error.strerror}") from error
