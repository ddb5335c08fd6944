"""Processes that help this one, and end with it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

from eida_stats_aggregator.errors import WorkerLost

# A process that is forked has all that is loaded already.
_FORK = multiprocessing.get_context("fork")
_LOST_HINT = "The memory may have been short. Use fewer --jobs."


@contextmanager
def start_helpers(
    number: int, work: Callable[[Connection], None], *, duplex: bool = False
) -> Iterator[list[Connection]]:
    """Start processes, each with a connection, and end them all at the end.

    They send to this process, and with `duplex` they also receive. There may be fewer than `number`, even none, if
    the machine does not allow more. A fault in one of them is sent as WorkerLost.

    Not with `concurrent.futures`: its processes outlive a first process that is killed (2 of 2 after 3 s).
    """
    with ExitStack() as stack:
        connections = []
        for _ in range(number):
            try:
                here, there = _FORK.Pipe(duplex=duplex)
            except OSError:
                break  # with as many as this machine allows
            process = _FORK.Process(target=_run_helper, args=(work, there), daemon=True)
            with _block_interrupts():
                try:
                    process.start()
                except OSError:
                    here.close()
                    there.close()
                    break
                stack.callback(process.join)
                stack.callback(process.terminate)
            there.close()
            stack.enter_context(here)
            connections.append(here)
        yield connections


def receive(connection: Connection) -> Any:
    """Return the next message of a process.

    Raises:
        WorkerLost: if it was killed, or has a fault.
    """
    try:
        message = connection.recv()
    except (EOFError, OSError):  # the latter in the middle of a message
        raise WorkerLost(hint=_LOST_HINT) from None
    if isinstance(message, WorkerLost):
        raise message
    return message


def send(connection: Connection, message: object) -> None:
    """Send a message to a process.

    Raises:
        WorkerLost: if it was killed.
    """
    try:
        connection.send(message)
    except OSError:
        raise WorkerLost(hint=_LOST_HINT) from None


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Fork processes that ignore Ctrl-C from their first instruction on."""
    # Ctrl-C reaches all processes; the first one ends the others.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _run_helper(work: Callable[[Connection], None], connection: Connection) -> None:
    try:
        threading.Thread(target=_end_with_first_process, daemon=True).start()
        work(connection)
    except Exception as error:  # noqa: BLE001 - its text may quote a log, and is not for a terminal
        # The first process may have closed the connection, and is about to end this one.
        with suppress(OSError):
            connection.send(WorkerLost(f"{type(error).__name__} in it"))


def _end_with_first_process() -> None:
    """End this process with the first one, even while it sends: nobody receives its results."""
    first = multiprocessing.parent_process()
    if first is not None:
        first.join()
    os.kill(os.getpid(), signal.SIGTERM)
