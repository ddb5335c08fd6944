"""Run our commands in forks of a process that has imported them, since importing takes most of their time."""

import atexit
import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from support import issued

# The scripts of setup.py, and the modules of which they run `main`.
_MODULES = {
    "eida_archive": "eida_stats_aggregator.archive.cli",
    "eida_stats_aggregator": "eida_stats_aggregator.cli",
    "eida_statsman": "eida_statsman.cli",
    "ringserverstats": "eida_stats_aggregator.ringserver.cli",
    "ringserverstats_follow": "eida_stats_aggregator.ringserver.follow",
}
_IMPORTED_LATE = (
    *(f"eida_stats_aggregator.archive.{name}" for name in ("crawl_command", "crawler", "send_command", "summary")),
    "eida_stats_aggregator.ringserver.store",
    *("eida_stats_aggregator.catch_up", "eida_stats_aggregator.delivery.sender", "rich.console", "rich.progress"),
    *(
        f"eida_statsman.{name}"
        for name in (
            *("connections", "coverage", "db", "networks", "nodes", "payloads", "report", "ringserver"),
            *("sensors", "shards", "spaces", "tokens"),
        )
    ),
)
_SERVE = "from support import commands; commands.serve()"
_ENDED_WITHIN_SECONDS = 120
_MAX_ORDER_BYTES = 1 << 17


def run_command(
    name: str,
    words: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: bytes | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as its script does, and return its exit code and output."""
    arguments = [name, *map(str, words)]
    order = json.dumps([arguments, str(folder), dict(environment)]).encode()
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, TemporaryFile() as printed, TemporaryFile() as complaints:
        with theirs, open(reading, "rb") as pipe, Path(os.devnull).open("rb") as nothing:  # noqa: PTH123 - a descriptor
            given = nothing if stdin is None else pipe
            descriptors = [given.fileno(), printed.fileno(), complaints.fileno(), theirs.fileno()]
            socket.send_fds(_start_server(), [order], descriptors)
        # It need not read everything.
        with contextlib.suppress(BrokenPipeError), open(writing, "wb") as feed:  # noqa: PTH123 - a descriptor
            feed.write(stdin or b"")
        ours.settimeout(_ENDED_WITHIN_SECONDS)
        code = int(ours.recv(10))
        texts = []
        for file in (printed, complaints):
            file.seek(0)
            texts.append(file.read().decode())
    issued.search_output(arguments, code, *texts)
    return subprocess.CompletedProcess(arguments, code, *texts)


@functools.cache
def _start_server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=theirs.fileno(),
            # A Ctrl-C is for the tests.
            start_new_session=True,
        )

    @atexit.register
    def stop() -> None:
        ours.close()
        server.wait()

    return ours


def serve() -> None:
    """Fork a process for each order, until the tests have ended."""
    for module in (*_MODULES.values(), *_IMPORTED_LATE):
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for these processes
    with socket.socket(fileno=os.dup(0)) as orders:
        while True:
            order, descriptors, _, _ = socket.recv_fds(orders, _MAX_ORDER_BYTES, 4)
            if not order:
                return
            if not os.fork():
                break
            for descriptor in descriptors:
                os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, answer = descriptors
    if command := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        os.write(answer, str(code).encode())
        os._exit(0)
    os.close(answer)
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    _run(*json.loads(order))


def _run(arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    # As Python opens them in the locale C.
    sys.stdin, sys.stdout = (
        open(descriptor, mode, encoding="utf-8", errors="surrogateescape")  # noqa: PTH123, SIM115 - descriptors
        for descriptor, mode in ((0, "r"), (1, "w"))
    )
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = arguments
    try:
        importlib.import_module(_MODULES[arguments[0]]).main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        # Removing all modules takes ten times as long as such a command.
        os._exit(int(end.code or 0))
