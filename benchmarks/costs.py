"""The cost of a command: its wall time, its CPU time and its memory."""

import contextlib
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import click

_SAMPLE_SECONDS = 0.02

Command: TypeAlias = Sequence[str | Path]


class Cost(NamedTuple):
    """The seconds of a command."""

    wall: float
    cpu: float


class Peak(NamedTuple):
    """The peak memory of a command in bytes: of all its processes together, and of the largest one."""

    together: int
    largest: int


def measure_cost(command: Command, environment: Mapping[str, str] | None = None, *, code: int = 0) -> Cost:
    """Run a command and return its cost, including all processes that it started and waited for.

    Raises:
        click.ClickException: if it ends with another code.
    """
    used, begun = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    cost = Cost(time.perf_counter() - begun, _cpu_of_children() - used)
    _check(command, done.returncode, done.stderr, code)
    return cost


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_peak(command: Command) -> Peak:
    """Run a command and return its peak memory.

    Anonymous pages that processes share count once. Mapped files are the same in all processes, and count as in the
    process that has most of them: their proportional share would depend on other programs of this machine.

    The sum may miss a peak that is shorter than a sample. The figure of the largest process is the kernel's own
    count. wait4 would include the memory of this process when it starts another.
    """
    together = largest = 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        while process.poll() is None:
            tree = list(_tree(process.pid))
            mapped = [_figures(pid, "smaps_rollup") for pid in tree]
            files = max(figures["Rss"] - figures["Anonymous"] for figures in mapped)
            together = max(together, files + sum(figures["Pss_Anon"] for figures in mapped))
            largest = max(largest, *(_figures(pid, "status")["VmHWM"] for pid in tree))
            time.sleep(_SAMPLE_SECONDS)
    _check(command, process.returncode, "")
    return Peak(together, largest)


def _tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and all its descendants."""
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _figures(pid: int, file: str) -> Mapping[str, int]:
    """Return the figures of the kernel in kB for a process, as bytes; zeros once it has ended."""
    figures: Counter[str] = Counter()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            match line.split():
                case [name, number, "kB"]:
                    figures[name.removesuffix(":")] = int(number) * 1024
    return figures


def _check(command: Command, code: int, errors: str, expected: int = 0) -> None:
    if code != expected:
        raise click.ClickException(f"{command[0]} ended with {code}: {errors.strip()}")
