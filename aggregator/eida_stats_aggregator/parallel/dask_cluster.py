"""Read logs into a tally on a Dask cluster: each file is a task, and tallies are merged as a tree.

The result of a task is bytes, since merging changes a tally, and a result may be needed again.
"""

import asyncio
import logging
import pickle
import warnings
from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from distributed import Client, Future, KilledWorker
from distributed.versions import VersionMismatchWarning

from eida_statistics import __version__
from eida_statistics.errors import EidaStatisticsError, UnreadableLog
from eida_statistics.networks import LoadedRegistry, NetworkRegistry, get_epochs, try_to_load
from eida_stats_aggregator.errors import ClusterUnavailable, WorkerLost
from eida_stats_aggregator.fdsnws import repeated_requests
from eida_stats_aggregator.fdsnws.filters import RequestFilter
from eida_stats_aggregator.fdsnws.repeated_requests import Choices
from eida_stats_aggregator.fdsnws.tally import Tally
from eida_stats_aggregator.logs import splits
from eida_stats_aggregator.logs.bzip2 import NotSplittable
from eida_stats_aggregator.logs.sources import Log
from eida_stats_aggregator.parallel import tallying
from eida_stats_aggregator.parallel.shared_registry import Load
from eida_stats_aggregator.parallel.tallying import Joiner
from eida_stats_aggregator.progress import Advance

_CONNECT_SECONDS = 10
_CLOSE_SECONDS = 5
# How many tallies a task merges: wide enough to be few, narrow enough for the memory of a worker.
_MERGED_AT_ONCE = 8
_HINT = "Check the address of the scheduler. It and its workers need this version of eida-statistics and Python."


class _Settings(NamedTuple):
    """The settings of all tasks."""

    version: str
    request_filter: RequestFilter
    registry: LoadedRegistry


def read(
    logs: Sequence[Log], request_filter: RequestFilter, load: Load, *, address: str, progress: Advance
) -> Tally:
    """Read logs, in their order; as `reading.read`, but for the registry, which is loaded in any case.

    Another worker reads the logs of a lost one again. Without any worker, this waits for one.

    Raises:
        UnreadableLog: if a log cannot be read.
        RegistryUnavailable: if a network needs the registry, which cannot be loaded.
        ClusterUnavailable: if the scheduler cannot be reached, or its workers cannot do it.
        WorkerLost: if workers end repeatedly.
    """
    registry = try_to_load(load)
    if isinstance(registry, EidaStatisticsError):
        # Its cause is an error of the network, which cannot be sent.
        registry = type(registry)(registry.subject, hint=registry.hint)
    settings = _Settings(__version__, request_filter, registry)
    # Their logs are for those who run a cluster. Operators find all they need in the errors.
    for name in ("distributed", "distributed.client", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", VersionMismatchWarning)
            tally = asyncio.run(_read(logs, settings, address, progress))
    except (OSError, CancelledError) as error:
        raise ClusterUnavailable(f"{address}: the connection was lost", hint="Nothing was written.") from error
    tally.request_filter = request_filter
    return tally


async def _read(logs: Sequence[Log], settings: _Settings, address: str, progress: Advance) -> Tally:
    choices: Choices | None = None
    async with _connect(address) as client:
        while True:
            tally: Tally = pickle.loads(  # noqa: S301 - our own
                await _read_once(client, logs, settings, choices, progress)
            )
            choices = repeated_requests.choose_next(tally.noted, tally.near, tally.chosen, choices)
            if choices is None:
                return tally
            progress(-sum(log.size for log in logs), 0)


async def _read_once(
    client: Client, logs: Sequence[Log], settings: _Settings, choices: Choices | None, progress: Advance
) -> bytes:
    # Tasks, not scattered data: Dask repeats those of a lost worker.
    shared = client.submit(_Settings, *settings, pure=False)
    repeated = client.submit(_return_repeated, choices and choices.repeated, pure=False)
    due = [choices.due.get(place, {}) if choices is not None else {} for place in range(len(logs))]
    reads = deque(
        client.map(_read_one, range(len(logs)), logs, due, settings=shared, repeated=repeated, pure=False)
    )
    merged = _merge_all(client, list(reads))
    # In order, so that the first log's error is reported. None is kept, so that workers can free it.
    for log in logs:
        await _wait_for(reads.popleft(), log.name)
        progress(log.size, 0)
    await _wait_for(merged, "the merged logs")
    tally: bytes = await merged
    return tally


def _return_repeated(repeated: frozenset[int] | None) -> frozenset[int] | None:
    return repeated


@asynccontextmanager
async def _connect(address: str) -> AsyncIterator[Client]:
    client = Client(  # type: ignore[no-untyped-call]
        address, timeout=_CONNECT_SECONDS, set_as_default=False, asynchronous=True
    )
    try:
        try:
            # A wrong address causes errors of all kinds, and late ones where something else answers.
            async with asyncio.timeout(_CONNECT_SECONDS + 1):
                await client
        except Exception as error:
            reason = _first_line(error) if not isinstance(error, TimeoutError) else "no Dask scheduler answers"
            raise ClusterUnavailable(f"{address}: {reason}", hint=_HINT) from error
        yield client
    finally:
        # All results are here, and the end of this process closes the connection in any case.
        with suppress(OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await client.close()  # type: ignore[no-untyped-call]


def _merge_all(client: Client, tallies: list[Future[bytes]]) -> Future[bytes]:
    while len(tallies) > 1:
        tallies = [
            # First what can be merged, then more logs: or all tallies would be held until the last one is read.
            client.submit(_merge, tallies[start : start + _MERGED_AT_ONCE], pure=False, priority=1)
            for start in range(0, len(tallies), _MERGED_AT_ONCE)
        ]
    return tallies[0]


async def _wait_for(future: Future[bytes], name: str) -> None:
    error: Exception | None = await future.exception()  # type: ignore[no-untyped-call]
    if future.cancelled():  # type: ignore[no-untyped-call]
        raise ConnectionError
    if isinstance(error, KilledWorker):
        raise WorkerLost(
            name,
            hint="Several workers ended while they read it. Look at their output: memory may be short.",
        ) from error
    if isinstance(error, EidaStatisticsError):
        raise error
    if error is not None:
        raise ClusterUnavailable(f"{name}: {_first_line(error)}", hint=_HINT) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _read_one(
    place: int,
    log: Log,
    due: dict[int, int | None],
    settings: _Settings,
    repeated: frozenset[int] | None,
) -> bytes:
    """Read one log; repeated requests are noted under its number."""
    if settings.version != __version__:
        raise ClusterUnavailable(f"a worker has eida-statistics {__version__}, and not {settings.version}")

    def choices() -> Choices | None:
        return Choices(repeated, {place: dict(due)}) if repeated is not None else None

    try:
        # Not with `reading.read`: others of its kind may be under way in this process, which goes on afterwards.
        try:
            tally = _read_tally(place, log, settings, choices(), whole=())
        except NotSplittable:
            tally = _read_tally(place, log, settings, choices(), whole=(0,))
        return pickle.dumps(tally)
    except UnreadableLog as error:
        if isinstance(error.__cause__, FileNotFoundError | PermissionError):
            error.hint = "Workers must be able to read it, under the same path."
        raise
    except EidaStatisticsError:
        raise
    except Exception as error:  # noqa: BLE001 - it may quote a line, and would come into the logs of the cluster
        unforeseen = type(error).__name__
    raise ClusterUnavailable(f"{log.name}: {unforeseen}", hint="Read it without --dask to learn more.")


def _read_tally(
    place: int, log: Log, settings: _Settings, choices: Choices | None, *, whole: Collection[int]
) -> Tally:
    tally = Tally(settings.request_filter, NetworkRegistry(lambda: get_epochs(settings.registry)), choices)
    tally.set_place(place)
    planned = splits.split([log], whole=whole)
    joiner = Joiner([log], planned, tally, place)
    for number, part in enumerate(planned):
        joiner.take(number, tallying.read_part(log, part, tally))
    return tally


def _merge(pickled: list[bytes]) -> bytes:
    """Merge tallies of logs that follow each other."""
    first: Tally = pickle.loads(pickled[0])  # noqa: S301 - our own
    for one in pickled[1:]:
        first.merge(pickle.loads(one))  # noqa: S301
    return pickle.dumps(first)
