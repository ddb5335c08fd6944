"""Aggregate files: written whole or not at all, and sent once.

Beside each file that is or was to be sent lies its delivery file, which says where it is to go (queued) and
where it has gone (sent, a receipt). A file without one is never sent unasked.
"""

import datetime
import fcntl
import gzip
import os
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eida_statistics import wire
from eida_statistics.errors import AggregateExists, EidaStatisticsError, NotDelivered, UnwritableDirectory
from eida_statistics.payload import Payload, content_hash
from eida_stats_aggregator.dispatch import Attempt, Dispatch, Receipt

SUFFIX = ".json.gz"
DELIVERY_SUFFIX = ".delivery"
_LOCK = ".eida_stats_aggregator.lock"
_TEMPORARY_SUFFIX = ".tmp"
# What is gained above it is not worth four times the time.
_GZIP_LEVEL = 6


class Outbox:
    """The aggregate files of one directory; use it within `locked`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self) -> None:
        """Make the directory, if it is missing.

        Raises:
            UnwritableDirectory: if it cannot be made.
        """
        with _as_unwritable(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self, *, warn: Callable[[str], None]) -> Iterator[None]:
        """Wait until no other run uses the directory, so that two runs at once do not send twice.

        Raises:
            UnwritableDirectory: if it cannot be written.
        """
        self.make()
        with _as_unwritable(self.directory):
            lock = (self.directory / _LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                warn(f"another run uses {self.directory}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            # What a killed run has left half written.
            for stale in self.directory.glob(f".*{SUFFIX}*{_TEMPORARY_SUFFIX}"):
                stale.unlink(missing_ok=True)
            yield

    def put(
        self,
        payload: Payload,
        *,
        suffix: str,
        replace: bool,
        send_to: str | None,
        replaces: Sequence[int] = (),
    ) -> Path:
        """Write a payload to FIRSTDAY_LASTDAY[_SUFFIX].json.gz and queue it, if it is to be sent.

        A file with the same statistics is left as it is, and not queued for a service that has them, unless
        `replace` is set: they may have been retracted there. That it is not set says that it is no correction of
        what is not remembered.

        Args:
            payload: what to write.
            suffix: tells the servers of a node apart.
            replace: it takes the place of what was there.
            send_to: where to send it.
            replaces: numbers of payloads that it replaces there, besides what is remembered.

        Raises:
            AggregateExists: if a file of that name has or had other statistics and `replace` is not set, or if
                it is not known whether these were delivered: the service might count those days twice.
            UnwritableDirectory: if it cannot be written.
        """
        rows_json = payload.rows_json()
        digest = content_hash(payload.days_coverage, rows_json)
        path, present, dispatch = self._planned(payload, digest, suffix, replace=replace, send_to=send_to)
        changed = dispatch.hash != digest
        dispatch.change_to(digest)
        if send_to is not None and (replace or dispatch.in_force(send_to) != digest):
            dispatch.queue(send_to, replace=replace, replaces=replaces)
        # The delivery file comes first: if the run is killed in between, the next one tells of a file that
        # is missing, rather than leaving one that nobody sends.
        if send_to is not None or changed:
            self._keep(path, dispatch)
        if not present:
            self._write(path, gzip.compress(payload.to_json(rows_json), _GZIP_LEVEL, mtime=_time_of(payload)))
        return path

    def _planned(
        self, payload: Payload, digest: str, suffix: str, *, replace: bool, send_to: str | None
    ) -> tuple[Path, bool, Dispatch]:
        """Give the path, whether that content is there already, and the delivery file as it is."""
        days = payload.days_coverage
        path = self.directory / f"{days[0]}_{days[-1]}{f'_{suffix}' if suffix else ''}{SUFFIX}"
        present = path.exists() and _hash_of(path) == digest
        if path.exists() and not present and not replace:
            raise AggregateExists(
                str(path),
                hint="Choose: --suffix NAME, if this is the log of another server of the node;"
                " --replace, if it is a correction.",
            )
        dispatch = _dispatch_of(path)
        if dispatch is None:
            dispatch = Dispatch(digest)
        _refuse_to_count_twice(path, dispatch, digest, send_to, replace=replace)
        return path, present, dispatch

    def queued(self, url: str, *, requeue: bool = False) -> tuple[list[Path], list[NotDelivered]]:
        """Give the files that are to go to a URL, oldest days first, and what is wrong with others.

        Args:
            url: where to.
            requeue: as if those for other URLs had been addressed to this one.
        """
        ready, complaints = [], []
        for path, dispatch in self._dispatches():
            if dispatch is None:
                complaints.append(NotDelivered(f"{path}{DELIVERY_SUFFIX} cannot be read"))
            elif not dispatch.queued:
                continue
            elif not path.exists() or _hash_of(path) != dispatch.hash:
                complaints.append(NotDelivered(f"{path} was not written to its end", hint="Run its log again."))
            elif url in dispatch.queued or (requeue and dispatch.in_force(url) != dispatch.hash):
                ready.append(path)
            elif not requeue:
                complaints.append(
                    NotDelivered(
                        f"{path} is queued for {', '.join(dispatch.queued)}",
                        hint="If that service has moved here, add --requeue.",
                    )
                )
        return ready, complaints

    def requeue(self, url: str) -> None:
        """Address what is queued for any URL to this one."""
        for path, dispatch in self._dispatches():
            if dispatch is not None and dispatch.queued:
                dispatch.move_to(url)
                self._keep(path, dispatch)

    def attempt(self, path: Path, url: str) -> Attempt:
        """Note that a file is being sent, whatever happens."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        attempt = dispatch.attempt(url, one_of_several=_has_suffix(path))
        self._keep(path, dispatch)
        return attempt

    def not_arrived(self, path: Path, url: str) -> None:
        """Note that what was sent has not been taken in."""
        dispatch = _dispatch_of(path)
        if dispatch is not None:
            dispatch.attempted.pop(url, None)
            self._keep(path, dispatch)

    def forget(self, path: Path, url: str, unknown: Collection[str]) -> bool:
        """Forget receipts for payloads that a service does not know; tell whether there were any."""
        dispatch = _dispatch_of(path)
        if dispatch is None or not dispatch.forget(url, unknown):
            return False
        self._keep(path, dispatch)
        return True

    def receipt(self, path: Path, url: str | None) -> Receipt | None:
        """Give the receipt for a file as it is, if it is not to be sent there again."""
        dispatch = _dispatch_of(path)
        if dispatch is None or url in dispatch.queued:
            return None
        found = dispatch.last_receipt(url)
        return found if found is not None and found.hash == dispatch.hash else None

    def delivered(self, path: Path, url: str, answer: str, at: datetime.datetime) -> None:
        """Turn a queued file's entry into a receipt."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        dispatch.deliver(url, answer, at)
        self._keep(path, dispatch)

    def _dispatches(self) -> Iterator[tuple[Path, Dispatch | None]]:
        for beside in sorted(self.directory.glob(f"*{SUFFIX}{DELIVERY_SUFFIX}")):
            path = beside.with_name(beside.name.removesuffix(DELIVERY_SUFFIX))
            yield path, _dispatch_of(path)

    def _keep(self, path: Path, dispatch: Dispatch) -> None:
        self._write(_delivery_path(path), msgspec.json.encode(dispatch))

    def _write(self, path: Path, content: bytes) -> None:
        with _as_unwritable(self.directory):
            temporary = self.directory / f".{path.name}{_TEMPORARY_SUFFIX}"
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            directory = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)


class Rehearsal(Outbox):
    """Refuses what an outbox would refuse, and changes nothing."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._new: list[Path] = []

    def make(self) -> None:
        """Make nothing."""

    @contextmanager
    def locked(self, *, warn: Callable[[str], None]) -> Iterator[None]:  # noqa: ARG002
        """Wait for nobody."""
        yield

    def put(
        self,
        payload: Payload,
        *,
        suffix: str,
        replace: bool,
        send_to: str | None,
        replaces: Sequence[int] = (),  # noqa: ARG002
    ) -> Path:
        """Tell where a payload would be written.

        Raises:
            AggregateExists: as that of an outbox.
        """
        digest = payload.hash()
        path, _, dispatch = self._planned(payload, digest, suffix, replace=replace, send_to=send_to)
        if send_to is not None and (replace or dispatch.in_force(send_to) != digest):
            self._new.append(path)
        return path

    def receipt(self, path: Path, url: str | None) -> Receipt | None:
        """Give the receipt for a file, if it would not be sent there again."""
        return None if path in self._new else super().receipt(path, url)

    def to_be_sent(self, url: str, *, requeue: bool) -> tuple[list[Path], list[NotDelivered]]:
        """Tell what would be sent to a URL, and what is wrong with what would not."""
        waiting, complaints = self.queued(url, requeue=requeue)
        return list(dict.fromkeys([*waiting, *self._new])), complaints


def _refuse_to_count_twice(
    path: Path, dispatch: Dispatch, digest: str, send_to: str | None, *, replace: bool
) -> None:
    """Stop other statistics than those that a service has or may have taken in, where they are to go there."""
    for url in sorted({*dispatch.queued, *([send_to] if send_to is not None else [])}):
        if dispatch.attempted.get(url, digest) != digest:
            raise AggregateExists(
                f"{path} was sent to {url}, and its answer was lost",
                hint="It may have been taken in. Run with --send-to and without a log first: that finds out.",
            )
        if not replace and dispatch.in_force(url) not in (None, digest):
            raise AggregateExists(
                f"{path} was delivered to {url} with other content",
                hint="Choose: --replace, if this is a correction;"
                " --suffix NAME, if it is the log of another server of the node.",
            )


def _has_suffix(path: Path) -> bool:
    return path.name.count("_") > 1


def _delivery_path(path: Path) -> Path:
    return path.with_name(path.name + DELIVERY_SUFFIX)


def _dispatch_of(path: Path) -> Dispatch | None:
    try:
        return msgspec.json.decode(_delivery_path(path).read_bytes(), type=Dispatch)
    except (OSError, msgspec.DecodeError):
        return None


def _hash_of(path: Path) -> str | None:
    """The hash of the payload in a file, or None if it holds none."""
    try:
        body = gzip.decompress(path.read_bytes())
        return wire.decode(body, today=datetime.date.max - datetime.timedelta(days=1)).hash()
    except (OSError, EOFError, zlib.error, EidaStatisticsError):
        return None


def _time_of(payload: Payload) -> float:
    # The same payload gives the same bytes, so the time in the gzip header is that in the payload.
    return datetime.datetime.fromisoformat(f"{payload.generated_at}+00:00").timestamp()


@contextmanager
def _as_unwritable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableDirectory(f"{error.filename or directory}: {error.strerror}") from error
