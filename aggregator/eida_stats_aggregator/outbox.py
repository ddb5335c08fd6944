"""Aggregate files: written whole or not at all, and sent once.

Beside each file that is or was to be sent lies its delivery file, which says where it is to go (queued) and
where it has gone (sent, a receipt). A file without one is never sent unasked.
"""

import datetime
import fcntl
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from eida_statistics import wire
from eida_statistics.errors import AggregateExists, EidaStatisticsError, UnwritableDirectory
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


class Delivery(msgspec.Struct):
    """Where the payload with this hash is to go, and where this file has gone, in this or an earlier content."""

    hash: str
    queued: list[str] = []
    sent: list[Receipt] = []


class Outbox:
    """The aggregate files of one directory; use it within `locked`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait until no other run uses the directory, so that two runs at once do not send twice.

        Raises:
            UnwritableDirectory: if it cannot be made or written.
        """
        with _told(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / _LOCK).open("w")
        with lock:
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
        delivery = _delivery_of(path) or Delivery(digest)
        if send_to is not None:
            _queue(path, delivery, digest, send_to)
        # The delivery file comes first: if the run is killed in between, the next one tells of a file that
        # is missing, rather than leaving one that nobody sends.
        if send_to is not None or delivery.hash != digest:
            self._write(_delivery_path(path), msgspec.json.encode(_about(delivery, digest)))
        if not present:
            self._write(path, gzip.compress(payload.to_json(), mtime=_time_of(payload)))
        return path

    def queued(self, url: str) -> tuple[list[Path], list[str]]:
        """Give the files that are to go to a URL, oldest days first, and complaints about those that cannot."""
        ready, complaints = [], []
        for beside in sorted(self.directory.glob(f"*{SUFFIX}{DELIVERY_SUFFIX}")):
            path = beside.with_name(beside.name.removesuffix(DELIVERY_SUFFIX))
            delivery = _delivery_of(path)
            if delivery is None:
                complaints.append(f"{beside}: cannot be read; {path.name} is not sent")
            elif not delivery.queued:
                continue
            elif not path.exists() or _hash_of(path) != delivery.hash:
                complaints.append(f"{path}: was not written to its end; run its log again")
            elif url in delivery.queued:
                ready.append(path)
            else:
                complaints.append(f"{path}: is queued for {', '.join(delivery.queued)}")
        return ready, complaints

    def delivered(self, path: Path, url: str, answer: str, at: datetime.datetime) -> None:
        """Turn a queued file's entry into a receipt."""
        delivery = _delivery_of(path)
        if delivery is None:
            delivery = Delivery(_hash_of(path) or "")
        delivery.queued = [other for other in delivery.queued if other != url]
        delivery.sent.append(Receipt(url, delivery.hash, f"{at:%Y-%m-%dT%H:%M:%SZ}", answer))
        self._write(_delivery_path(path), msgspec.json.encode(delivery))

    def _write(self, path: Path, content: bytes) -> None:
        with _told(self.directory):
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


def _queue(path: Path, delivery: Delivery, digest: str, url: str) -> None:
    for receipt in delivery.sent:
        if receipt.url == url and receipt.hash != digest:
            raise AggregateExists(
                f"{path} was delivered to {url} at {receipt.sent_at}",
                hint="Sending the correction as well would count these days twice.",
            )
    already = delivery.hash == digest and url in [receipt.url for receipt in delivery.sent]
    if not already and url not in delivery.queued:
        delivery.queued.append(url)


def _about(delivery: Delivery, digest: str) -> Delivery:
    return Delivery(digest, delivery.queued, delivery.sent)


def _delivery_path(path: Path) -> Path:
    return path.with_name(path.name + DELIVERY_SUFFIX)


def _delivery_of(path: Path) -> Delivery | None:
    try:
        return msgspec.json.decode(_delivery_path(path).read_bytes(), type=Delivery)
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
def _told(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnwritableDirectory(f"{error.filename or directory}: {error.strerror}") from error
