"""The directory of aggregate files, each written completely or not at all, with its delivery state in a side file.

A file without a side file was made without a service to send it to, and is never sent. One directory may have files
of several kinds.
"""

import datetime
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from eida_statistics.files import TEMPORARY_SUFFIX, write_file
from eida_statistics.payload import Period
from eida_stats_aggregator.delivery.aggregate import REQUESTS, Aggregate, Kind, read_content_hash
from eida_stats_aggregator.delivery.legacy import decode_state
from eida_stats_aggregator.delivery.state import (
    DeliveryState,
    Identity,
    LogStamp,
    Record,
    Terms,
    check_overlaps,
    check_source,
    plan_delivery,
    queue_overwritten,
    redirect,
)
from eida_stats_aggregator.errors import DirectoryInUse, NotDelivered, UnwritableDirectory

SUFFIX = ".json.gz"
STATE_SUFFIX = ".delivery"
_LOCK = ".eida_stats_aggregator{}.lock"
_PERIOD_AND_SOURCE = r"(\d{4}-\d\d-\d\d)_(\d{4}-\d\d-\d\d)(?:_([0-9A-Za-z.-]+))?"


class Entry(NamedTuple):
    """An aggregate file that has a side file."""

    path: Path
    identity: Identity
    state: DeliveryState


class Provenance(NamedTuple):
    """The logs of a file, by path, and the fingerprint of their lines; or the transfer records in it.

    See `DeliveryState`.
    """

    logs: dict[str, LogStamp]
    fingerprint: str
    digests: bytes = b""
    key: str = ""


class Outbox:
    """The aggregate files of a kind in one directory. Use it within `lock`; a dry run changes nothing on disk."""

    def __init__(self, directory: Path, kind: Kind = REQUESTS, *, dry_run: bool = False) -> None:
        self.directory = directory
        self.dry_run = dry_run
        self._kind = kind
        self._name = re.compile(re.escape(kind.prefix) + _PERIOD_AND_SOURCE + re.escape(SUFFIX), re.ASCII)
        self._states: dict[Path, DeliveryState] = {}
        self._unreadable: set[Path] = set()

    def check_writable(self) -> None:
        """Check that the directory can be written, before hours of reading; create it if it is missing.

        Raises:
            UnwritableDirectory: if it cannot be created or written.
        """
        if not self.dry_run:
            with _raise_unwritable(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
                probe = self.directory / f".probe.{os.getpid()}{TEMPORARY_SUFFIX}"
                probe.write_bytes(bytes(1))
                # Another run may have swept it up.
                probe.unlink(missing_ok=True)

    @contextmanager
    def lock(self, *, warn: Callable[[str], None] | None = None, task: str | None = None) -> Iterator[None]:
        """Lock the directory against other runs, and load its states.

        Args:
            warn: receives a message before this waits for another run.
            task: a name that runs share. Only one of them works or waits; this one ends if there is another.

        Raises:
            UnwritableDirectory: if the directory cannot be written.
            DirectoryInUse: if another run with the same task works or waits.
        """
        if self.dry_run:
            self._load()
            yield
            return
        with ExitStack() as stack:
            if task is not None and not self._take_lock(stack, f".{task}", wait=False):
                raise DirectoryInUse(str(self.directory))
            if not self._take_lock(stack, "", wait=False):
                if warn is not None:
                    warn(f"another run uses {self.directory}; waiting for it")
                self._take_lock(stack, "", wait=True)
            # Left by a run that was killed.
            for stale in self.directory.glob(f".*{TEMPORARY_SUFFIX}"):
                stale.unlink(missing_ok=True)
            self._load()
            yield

    def _take_lock(self, stack: ExitStack, name: str, *, wait: bool) -> bool:
        """Take a lock until the end of a stack, and return whether it was free."""
        with _raise_unwritable(self.directory):
            lock = stack.enter_context((self.directory / _LOCK.format(name)).open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _load(self) -> None:
        self._states, self._unreadable = {}, set()
        for beside in self.directory.glob(f"{self._kind.prefix}[0-9]*{SUFFIX}{STATE_SUFFIX}"):
            path = beside.with_name(beside.name.removesuffix(STATE_SUFFIX))
            try:
                self._states[path] = decode_state(beside.read_bytes())
            except (OSError, msgspec.DecodeError):
                self._unreadable.add(path)

    def put(
        self,
        aggregate: Aggregate,
        url: str | None,
        terms: Terms,
        provenance: Provenance | None = None,
        *,
        may_overlap: bool = False,
    ) -> Path:
        """Write an aggregate to [KIND_]START_END[_SOURCE].json.gz, and queue it for a service.

        With `may_overlap`, it is left to the service whether the aggregate overlaps with other files.

        Raises:
            AggregateExists: if the file has other statistics, and the terms do not say what to do.
            AlreadyDelivered: if another file counts for some of these days.
            UnwritableDirectory: if it cannot be written.
        """
        identity, content = aggregate.identity, aggregate.content
        path = self.make_path(identity)
        old, present = self._read_present(path, content)
        new = plan_delivery(old, content, url, terms, path=path, source=identity.source)
        others = [(other.name, named, state) for other, named, state in self.list_entries() if other != path]
        if url is not None and provenance is not None and old is None:
            check_source(others, identity.source, provenance.fingerprint, url, terms)
        if url is not None and not may_overlap:
            check_overlaps(others, identity, url, terms)
        if provenance is not None:
            new = structs.replace(new, **provenance._asdict())
        self._save(path, new, aggregate, is_current=present == content and not (old is not None and old.legacy))
        return path

    def overwrite(self, aggregate: Aggregate, url: str, terms: Terms, provenance: Provenance) -> Path:
        """Write an aggregate whatever its file has, and queue it for a service: the caller has decided about both.

        Raises:
            UnwritableDirectory: if it cannot be written.
        """
        path, content = self.make_path(aggregate.identity), aggregate.content
        new = queue_overwritten(self.get_state(path), content, url, terms)
        is_current = read_content_hash(path, self._kind) == content
        self._save(path, structs.replace(new, **provenance._asdict()), aggregate, is_current=is_current)
        return path

    def _save(self, path: Path, state: DeliveryState, aggregate: Aggregate, *, is_current: bool) -> None:
        # The side file comes first: if the run is killed in between, the next one reports a file that is missing,
        # instead of leaving one that is never sent.
        if state.records:
            self.save_state(path, state)
        if not self.dry_run and not is_current:
            self.write(path, aggregate.packed)

    def _read_present(self, path: Path, content: str) -> tuple[DeliveryState | None, str | None]:
        """Return the state of a file, and the hash of its present content, before it gets another one."""
        old, present = self.get_state(path), read_content_hash(path, self._kind)
        if path.exists() and (old is None or old.content not in (present, content)):
            # It was made without a service, or by hand. Otherwise a run was killed before it had written the file.
            old = DeliveryState(present or "", {} if old is None else old.records)
        return old, present

    def make_path(self, identity: Identity) -> Path:
        """Return the path of the file of a source and a period."""
        source, period = identity
        name = f"{self._kind.prefix}{period.start}_{period.end}{f'_{source}' if source else ''}{SUFFIX}"
        return self.directory / name

    def list_entries(self) -> list[Entry]:
        """Return the files that have a side file, oldest period first."""
        named = ((path, self._parse_identity(path.name), state) for path, state in sorted(self._states.items()))
        return [Entry(path, identity, state) for path, identity, state in named if identity is not None]

    def list_waiting(self, url: str) -> tuple[list[Path], list[NotDelivered]]:
        """Return the files that are to be sent to a service, oldest first, and complaints about others."""
        again = "Run its log again."
        complaints = [
            NotDelivered(f"{path}{STATE_SUFFIX} cannot be read", hint=again) for path in sorted(self._unreadable)
        ]
        ready = []
        for path, _, state in self.list_entries():
            services = [other for other, record in state.records.items() if record.waits]
            if services and not self.is_whole(path):
                complaints.append(NotDelivered(f"{path} was not written to its end", hint=again))
            elif url in services:
                ready.append(path)
            elif services:
                hint = "If that service has moved here, add --requeue."
                complaints.append(NotDelivered(f"{path} is queued for {', '.join(services)}", hint=hint))
        return ready, complaints

    def list_held(self, url: str) -> list[Path]:
        """Return the files that wait at a service for a decision of the operator."""
        records = ((path, state.records.get(url)) for path, _, state in self.list_entries())
        return [path for path, record in records if record is not None and record.state == "held"]

    def is_whole(self, path: Path) -> bool:
        """Return whether a file has the content that is remembered; in a dry run it may not be there."""
        state = self.get_state(path)
        return self.dry_run or (state is not None and read_content_hash(path, self._kind) == state.content)

    def redirect(self, url: str, *, mistyped_only: bool) -> None:
        """Move the queues of other services to this one; see `state.redirect`."""
        for path, _, state in self.list_entries():
            redirected = redirect(state, url, mistyped_only=mistyped_only)
            if redirected != state:
                self.save_state(path, redirected)

    def drop_superseded(self, path: Path, url: str) -> None:
        """Drop the waiting files whose periods lie within that of a delivered correction."""
        made = self._parse_identity(path.name)
        for other, identity, state in self.list_entries():
            record = state.records.get(url)
            if made is None or other == path or record is None or record.state == "delivered":
                continue
            if identity.source == made.source and made.period.contains(identity.period):
                records = {name: kept for name, kept in state.records.items() if name != url}
                self.save_state(other, structs.replace(state, records=records))

    def _parse_identity(self, name: str) -> Identity | None:
        """Return the source and the period of a file by its name, None if it has another form."""
        parsed = self._name.fullmatch(name)
        try:
            return parsed and Identity(
                parsed[3] or "", Period(*map(datetime.date.fromisoformat, parsed.group(1, 2)))
            )
        except ValueError:
            return None

    def get_state(self, path: Path) -> DeliveryState | None:
        """Return the state of a file, None if it has no side file."""
        return self._states.get(path)

    def get_record(self, path: Path, url: str) -> Record | None:
        """Return the record of a file at a service, None if it is not to go there."""
        state = self.get_state(path)
        return None if state is None else state.records.get(url)

    def list_nodes(self, url: str) -> set[str]:
        """Return the nodes for which files count at a service, as far as they are known."""
        records = (state.records.get(url) for state in self._states.values())
        return {record.node for record in records if record is not None and record.node is not None}

    def save_state(self, path: Path, state: DeliveryState) -> None:
        """Remember the state of a file."""
        self._states[path] = state
        self._unreadable.discard(path)
        self.write(path.with_name(path.name + STATE_SUFFIX), msgspec.json.encode(state))

    def write(self, path: Path, content: bytes) -> None:
        """Write a file of the directory, whole or not at all; small sketches list the hashes of users.

        Raises:
            UnwritableDirectory: if it cannot be written.
        """
        if self.dry_run:
            return
        with _raise_unwritable(self.directory):
            write_file(path, content)


@contextmanager
def _raise_unwritable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableDirectory(f"{error.filename or directory}: {error.strerror}") from error
