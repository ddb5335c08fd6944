"""Aggregate files: written whole or not at all, and sent once.

Beside each file that is or was to be sent lies its delivery file, which says where it is to go (queued) and
where it has gone (sent, a receipt). A file without one is never sent unasked.
"""

import datetime
import fcntl
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eida_statistics import wire
from eida_statistics.errors import AggregateExists, EidaStatisticsError, NotDelivered, UnwritableDirectory
from eida_statistics.payload import Payload

SUFFIX = ".json.gz"
DELIVERY_SUFFIX = ".delivery"
_LOCK = ".eida_stats_aggregator.lock"
_TEMPORARY_SUFFIX = ".tmp"


class Receipt(msgspec.Struct, frozen=True):
    """That a payload was taken in: `answer` is what the service said."""

    url: str
    hash: str
    sent_at: str
    answer: str


class Dispatch(msgspec.Struct):
    """Where the payload with this hash is to go, and where this file has gone, in this or an earlier content.

    `attempted` has the hash that was sent to a URL whose answer is not known: it may have been taken in.
    """

    hash: str
    queued: list[str] = []
    sent: list[Receipt] = []
    attempted: dict[str, str] = {}


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

    def put(self, payload: Payload, *, suffix: str, replace: bool, send_to: str | None) -> Path:
        """Write a payload to FIRSTDAY_LASTDAY[_SUFFIX].json.gz and queue it, if it is to be sent.

        A file with the same statistics is left as it is.

        Raises:
            AggregateExists: if a file of that name has other statistics and `replace` is not set, or if they
                were delivered already: the service would count those days twice.
            UnwritableDirectory: if it cannot be written.
        """
        days = payload.days_coverage
        path = self.directory / f"{days[0]}_{days[-1]}{f'_{suffix}' if suffix else ''}{SUFFIX}"
        digest = payload.hash()
        present = path.exists() and _hash_of(path) == digest
        if path.exists() and not present and not replace:
            raise AggregateExists(
                str(path),
                hint="Choose: --suffix NAME, if this is the log of another server of the node;"
                " --replace, if it is a correction.",
            )
        dispatch = _dispatch_of(path) or Dispatch(digest)
        _refuse_to_count_twice(path, dispatch, digest, send_to)
        if send_to is not None and not _is_sent(dispatch, digest, send_to):
            dispatch.queued = sorted({*dispatch.queued, send_to})
        # The delivery file comes first: if the run is killed in between, the next one tells of a file that
        # is missing, rather than leaving one that nobody sends.
        if send_to is not None or dispatch.hash != digest:
            dispatch.hash = digest
            self._keep(path, dispatch)
        if not present:
            self._write(path, gzip.compress(payload.to_json(), mtime=_time_of(payload)))
        return path

    def queued(self, url: str) -> tuple[list[Path], list[NotDelivered]]:
        """Give the files that are to go to a URL, oldest days first, and what is wrong with others."""
        ready, complaints = [], []
        for path, dispatch in self._dispatches():
            if dispatch is None:
                complaints.append(NotDelivered(f"{path}{DELIVERY_SUFFIX} cannot be read"))
            elif not dispatch.queued:
                continue
            elif not path.exists() or _hash_of(path) != dispatch.hash:
                complaints.append(NotDelivered(f"{path} was not written to its end", hint="Run its log again."))
            elif url in dispatch.queued:
                ready.append(path)
            else:
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
                dispatch.queued = [] if _is_sent(dispatch, dispatch.hash, url) else [url]
                # What may have arrived has arrived at the service that is here now.
                if dispatch.attempted:
                    *_, sent = dispatch.attempted.values()
                    dispatch.attempted = {url: sent}
                self._keep(path, dispatch)

    def attempt(self, path: Path, url: str) -> bool:
        """Note that a file is being sent, whatever happens; tell whether an earlier attempt may have arrived."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        earlier = url in dispatch.attempted
        dispatch.attempted[url] = dispatch.hash
        self._keep(path, dispatch)
        return earlier

    def not_arrived(self, path: Path, url: str) -> None:
        """Note that what was sent has not been taken in."""
        dispatch = _dispatch_of(path)
        if dispatch is not None:
            dispatch.attempted.pop(url, None)
            self._keep(path, dispatch)

    def delivered(self, path: Path, url: str, answer: str, at: datetime.datetime) -> None:
        """Turn a queued file's entry into a receipt."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        dispatch.queued = [other for other in dispatch.queued if other != url]
        dispatch.attempted.pop(url, None)
        dispatch.sent.append(Receipt(url, dispatch.hash, f"{at:%Y-%m-%dT%H:%M:%SZ}", answer))
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


def _refuse_to_count_twice(path: Path, dispatch: Dispatch, digest: str, send_to: str | None) -> None:
    """Stop a correction of what a service has or may have taken in already, where it is to go there."""
    goes_to = {*dispatch.queued, *([send_to] if send_to is not None else [])}
    for receipt in dispatch.sent:
        if receipt.url in goes_to and receipt.hash != digest:
            raise AggregateExists(
                f"{path} was delivered to {receipt.url} at {receipt.sent_at}",
                hint="Sending the correction as well would count these days twice.",
            )
    for url, attempted in dispatch.attempted.items():
        if url in goes_to and attempted != digest:
            raise AggregateExists(
                f"{path} was sent to {url}, and its answer was lost",
                hint="It may have been taken in. Run with --send-to and without a log first: that finds out.",
            )


def _is_sent(dispatch: Dispatch, digest: str, url: str) -> bool:
    return any((receipt.url, receipt.hash) == (url, digest) for receipt in dispatch.sent)


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
