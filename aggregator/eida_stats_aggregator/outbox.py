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
from typing import NamedTuple

import msgspec
from msgspec import structs

from eida_statistics import wire
from eida_statistics.errors import AggregateExists, EidaStatisticsError, NotDelivered, UnwritableDirectory
from eida_statistics.payload import Payload, hash_of

SUFFIX = ".json.gz"
DELIVERY_SUFFIX = ".delivery"
_LOCK = ".eida_stats_aggregator.lock"
_TEMPORARY_SUFFIX = ".tmp"
# What is gained above it is not worth four times the time.
_GZIP_LEVEL = 6


class Receipt(msgspec.Struct, frozen=True):
    """That a payload was taken in: `answer` is what the service said."""

    url: str
    hash: str
    sent_at: str
    answer: str


class Dispatch(msgspec.Struct):
    """Where the payload with this hash is to go, and where this file has gone, in this or an earlier content.

    `attempted` has the hash that was sent to a URL whose answer is not known: it may have been taken in. A queued
    URL that has given a receipt gets a correction of what it has taken in last; those among `corrections` may have
    something of these days even if they have given none. `named` has the numbers that payloads have at a URL which
    this one is to replace as well.
    """

    hash: str
    queued: list[str] = []
    corrections: list[str] = []
    sent: list[Receipt] = []
    attempted: dict[str, str] = {}
    named: dict[str, list[int]] = {}


class Attempt(NamedTuple):
    """How a file is to be sent, and whether an earlier attempt may have arrived.

    A correction takes the place of the payloads whose hashes or numbers are in `replaces`, or, if that is empty, of
    what the service finds. What is none is counted beside all others or, `alone`, only if there are no others for
    its days.
    """

    correction: bool
    may_have_arrived: bool
    replaces: tuple[str, ...] = ()
    alone: bool = False


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
        digest = hash_of(payload.days_coverage, rows_json)
        path, present, dispatch = self._planned(payload, digest, suffix, replace=replace, send_to=send_to)
        if dispatch.hash != digest:
            # What is again as a service has it need not go there.
            _keep_queued(dispatch, [url for url in dispatch.queued if _in_force(dispatch, url) != digest])
        if send_to is not None and (replace or _in_force(dispatch, send_to) != digest):
            _queue(dispatch, send_to, replace=replace, replaces=replaces)
        # The delivery file comes first: if the run is killed in between, the next one tells of a file that
        # is missing, rather than leaving one that nobody sends.
        if send_to is not None or dispatch.hash != digest:
            dispatch.hash = digest
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
            elif url in dispatch.queued or (requeue and _in_force(dispatch, url) != dispatch.hash):
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
                wanted = url in dispatch.queued or _in_force(dispatch, url) != dispatch.hash
                # What was taken in, or may have been, was so by the service that is here now.
                dispatch.sent = [
                    structs.replace(receipt, url=url) if receipt.url in dispatch.queued else receipt
                    for receipt in dispatch.sent
                ]
                correction = bool(dispatch.corrections)
                # It may have given other numbers to its payloads.
                _keep_queued(dispatch, [url])
                dispatch.queued = [url] if wanted else []
                dispatch.corrections = dispatch.queued if correction else []
                if dispatch.attempted:
                    *_, sent = dispatch.attempted.values()
                    dispatch.attempted = {url: sent}
                self._keep(path, dispatch)

    def attempt(self, path: Path, url: str) -> Attempt:
        """Note that a file is being sent, whatever happens."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        earlier = url in dispatch.attempted
        dispatch.attempted[url] = dispatch.hash
        self._keep(path, dispatch)
        remembered = _in_force(dispatch, url)
        replaces = (*filter(None, [remembered]), *map(str, dispatch.named.get(url, [])))
        correction = bool(replaces) or url in dispatch.corrections
        # Others for these days are those of other servers, if a suffix says that there are some.
        alone = correction and not replaces and _has_suffix(path)
        return Attempt(correction and not alone, earlier, replaces, alone)

    def not_arrived(self, path: Path, url: str) -> None:
        """Note that what was sent has not been taken in."""
        dispatch = _dispatch_of(path)
        if dispatch is not None:
            dispatch.attempted.pop(url, None)
            self._keep(path, dispatch)

    def forget(self, path: Path, url: str, unknown: Collection[str]) -> bool:
        """Forget receipts for payloads, by their hashes, that a service does not know; tell whether there were any.

        It may have something else of these days.
        """
        dispatch = _dispatch_of(path)
        if dispatch is None:
            return False
        known = [receipt for receipt in dispatch.sent if receipt.url != url or receipt.hash not in unknown]
        if len(known) == len(dispatch.sent):
            return False
        dispatch.sent = known
        dispatch.corrections = sorted({*dispatch.corrections, url})
        self._keep(path, dispatch)
        return True

    def receipt(self, path: Path, url: str | None) -> Receipt | None:
        """Give the receipt for a file as it is, if it is not to be sent there again."""
        dispatch = _dispatch_of(path)
        if dispatch is None or url in dispatch.queued:
            return None
        found = _last_receipt(dispatch, url)
        return found if found is not None and found.hash == dispatch.hash else None

    def delivered(self, path: Path, url: str, answer: str, at: datetime.datetime) -> None:
        """Turn a queued file's entry into a receipt."""
        dispatch = _dispatch_of(path) or Dispatch(_hash_of(path) or "")
        _keep_queued(dispatch, [other for other in dispatch.queued if other != url])
        dispatch.attempted.pop(url, None)
        # One that is sent again and again is remembered once.
        others = [receipt for receipt in dispatch.sent if (receipt.url, receipt.hash) != (url, dispatch.hash)]
        dispatch.sent = [*others, Receipt(url, dispatch.hash, f"{at:%Y-%m-%dT%H:%M:%SZ}", answer)]
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
        if send_to is not None and (replace or _in_force(dispatch, send_to) != digest):
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
        if not replace and _in_force(dispatch, url) not in (None, digest):
            raise AggregateExists(
                f"{path} was delivered to {url} with other content",
                hint="Choose: --replace, if this is a correction;"
                " --suffix NAME, if it is the log of another server of the node.",
            )


def _queue(dispatch: Dispatch, url: str, *, replace: bool, replaces: Sequence[int]) -> None:
    """Address it to a URL; the last run's word on what it replaces there is the one that holds."""
    # As long as the first delivery waits, only the file is replaced.
    correction = replace and (url not in dispatch.queued or url in dispatch.corrections)
    _keep_queued(dispatch, [other for other in dispatch.queued if other != url])
    dispatch.queued = sorted([*dispatch.queued, url])
    if correction:
        dispatch.corrections.append(url)
    if replaces:
        dispatch.named[url] = sorted(set(replaces))


def _keep_queued(dispatch: Dispatch, urls: Collection[str]) -> None:
    """Let it not go to other URLs than these any more."""
    dispatch.queued = [url for url in dispatch.queued if url in urls]
    dispatch.corrections = [url for url in dispatch.corrections if url in urls]
    dispatch.named = {url: numbers for url, numbers in dispatch.named.items() if url in urls}


def _last_receipt(dispatch: Dispatch, url: str | None) -> Receipt | None:
    return next((receipt for receipt in reversed(dispatch.sent) if receipt.url == url), None)


def _in_force(dispatch: Dispatch, url: str) -> str | None:
    """The hash of what a service has taken in last."""
    receipt = _last_receipt(dispatch, url)
    return None if receipt is None else receipt.hash


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
