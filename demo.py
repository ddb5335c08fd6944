"""The main job from end to end, on this machine alone: a log becomes statistics that a service answers with.

Each step is a command that an operator or an administrator would type; it is printed before it runs.
"""

import contextlib
import datetime
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from eida_statistics.months import add_months, format_month, parse_month

OUTPUT = Path("demo-output")
PREFIX = "/eidaws/statistics/1"
SCRIPTS = sysconfig.get_path("scripts")
GENERATED_REQUESTS = 3000
DAY = "2020-11-02"
# Later logs of the node: two years until the last whole month, without some days.
REQUESTS_A_DAY = 12
DAYS_LOST = 10

# Variables that the demo's commands read, and that the developer may have set for other databases and services.
SETTINGS = ("DATABASE_URI", "URL_PREFIX", "MAX_PAYLOAD_BYTES", "TOKEN")

console = Console(highlight=False)
# No proxy leads to the loopback interface.
ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@click.command()
@click.option("--log", type=click.Path(path_type=Path), help="A request log of your own, instead of a made one.")
@click.option("--networks", type=click.Path(path_type=Path), help="A registry of networks, instead of FDSN's.")
@click.option("--serve", is_flag=True, help="Leave the service running at the end.")
def demo(log: Path | None, networks: Path | None, serve: bool) -> None:
    """Aggregate a log, start the service, register a node, submit, and read back."""
    if log is not None and not log.is_file():
        raise click.BadParameter(f"there is no file {log}", param_hint="LOG")
    for given, parameter in ((log, "LOG"), (networks, "NETWORKS")):
        if given is not None and given.resolve().is_relative_to(OUTPUT.resolve()):
            raise click.BadParameter(f"{given} is in {OUTPUT}, which is emptied first", param_hint=parameter)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    environment = {"DATABASE_URI": f"sqlite:///{OUTPUT / 'statistics.db'}"}
    made = log is None
    if log is None:
        log, networks = make_log()
    step("The administrator makes the database and registers a node")
    command(environment, "eida_statsman", "db", "migrate")
    command(environment, "eida_statsman", "nodes", "add", "DEMO", "--contact", "operator@node.example")
    token = answer_of(environment, "eida_statsman", "tokens", "add", "DEMO")
    step("and starts the service")
    address = f"127.0.0.1:{free_port()}"
    url = f"http://{address}{PREFIX}"
    with service(environment, address, url):
        step("The node's operator aggregates the log and sends the aggregates")
        registry = ["--networks", str(networks)] if networks is not None else []
        sending = ["--send-to", f"{url}/submit"]
        command(
            {"TOKEN": token},
            "eida_stats_aggregator",
            "-o",
            str(OUTPUT / "aggregates"),
            *registry,
            *sending,
            str(log),
        )
        question = f"{url}/dataselect/public?start=1990-01&level=network"
        step("Anybody asks what was delivered", f"GET {question}")
        show(question)
        if made:
            step(f"The operator sends the logs of two years, of which {DAYS_LOST} days were lost")
            submit_years({"TOKEN": token}, [*registry, *sending])
        step(
            "The administrator makes a report of the last 12 months" if made else "The administrator makes a report"
        )
        report = OUTPUT / "report.html"
        last = find_last_month(url)
        first = add_months(last, -11) if made else last
        period = ["--start", format_month(first), "--end", format_month(last)]
        command(environment, "eida_statsman", "report", *period, *registry, "-o", str(report))
        console.print(f"open {report} in a browser")
        console.print("To try more commands on these statistics, set:")
        folder = SCRIPTS if Path(SCRIPTS).is_absolute() else Path(SCRIPTS).resolve()
        console.print(f'export PATH="{folder}:$PATH" DATABASE_URI={environment["DATABASE_URI"]}', soft_wrap=True)
        if serve:
            step(
                "The service goes on running; Ctrl-C stops it",
                f"open {url}/ in a browser, or: curl '{question}&format=json'",
            )
            wait()


def make_log() -> tuple[Path, Path]:
    """Make a log of one day, and the registry of networks that goes with it."""
    step("A log of one day, as SeisComP's fdsnws writes it; use your own with: make demo LOG=file")
    log, networks = OUTPUT / f"fdsnws-requests.log.{DAY}.bz2", OUTPUT / "networks.json"
    options = ["--requests", str(GENERATED_REQUESTS), "--day", DAY, "--registry", str(networks)]
    subprocess.run([sys.executable, "-m", "benchmarks.make_log", *options, str(log)], check=True)
    console.print(f"made {log}")
    return log, networks


def submit_years(environment: dict[str, str], options: list[str]) -> None:
    """Make logs until the last whole month, aggregate and send them."""
    end = datetime.datetime.now(tz=datetime.UTC).date().replace(day=1)
    lost = add_months(end, -8)
    resumed = lost + datetime.timedelta(days=DAYS_LOST)
    for number, (begun, ended) in enumerate([(add_months(end, -24), lost), (resumed, end)], 1):
        log = OUTPUT / f"years-{number}.log.bz2"
        days = str((ended - begun).days)
        generated = ["--requests", str(REQUESTS_A_DAY), "--day", begun.isoformat(), "--days", days]
        # Some clients come back in other months.
        generated += ["--clients", "200", "--seed", "1"]
        subprocess.run([sys.executable, "-m", "benchmarks.make_log", *generated, str(log)], check=True)
        output = ["-o", str(OUTPUT / "aggregates"), "--quiet"]
        command(environment, "eida_stats_aggregator", *output, *options, str(log))


def find_last_month(url: str) -> datetime.date:
    """Return the last month with statistics."""
    with ask(f"{url}/dataselect/public?start=1990-01&details=month&sort=-date&limit=1&format=json") as answer:
        return parse_month(json.load(answer)["results"][0]["date"])


def step(title: str, detail: str = "") -> None:
    """Print what comes next."""
    console.print(f"\n[bold]{title}[/bold]", soft_wrap=True)
    if detail:
        console.print(f"[dim]{detail}[/dim]", soft_wrap=True)


def command(environment: dict[str, str], *words: str) -> None:
    """Show a command and run it; the demo ends where one fails."""
    show_command(("TOKEN=… " if "TOKEN" in environment else "") + shlex.join(words))
    finished = subprocess.run(
        [Path(SCRIPTS) / words[0], *words[1:]], env=only(environment), check=False, stdin=subprocess.DEVNULL
    )
    if finished.returncode:
        console.print(f"[red]{words[0]} ended with exit code {finished.returncode}[/red]")
        sys.exit(finished.returncode)


def answer_of(environment: dict[str, str], *words: str) -> str:
    """Show a command, run it and give what it printed, which is not shown."""
    show_command(shlex.join(words))
    finished = subprocess.run(
        [Path(SCRIPTS) / words[0], *words[1:]], env=only(environment), check=True, stdout=subprocess.PIPE
    )
    return finished.stdout.decode().strip()


def show_command(typed: str) -> None:
    """Print what could be typed."""
    console.print(f"$ {typed}", style="dim", markup=False, soft_wrap=True)


def only(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a command: the demo's settings, none of the developer's, and no proxy."""
    theirs = {"EIDA_STATS_CONFIG", *SETTINGS, *(f"{setting}_FILE" for setting in SETTINGS)}
    kept = {name: value for name, value in os.environ.items() if name not in theirs}
    return kept | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"} | environment


def free_port() -> int:
    """Return the usual port, or another one of the loopback interface if somebody listens on it."""
    for port in (8000, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("all ports are in use")


@contextmanager
def service(environment: dict[str, str], address: str, url: str) -> Iterator[None]:
    """Run the service while the block runs; its log goes to a file."""
    words = ["eida_statsman", "serve", "--bind", address]
    show_command(shlex.join(words))
    with (OUTPUT / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [Path(SCRIPTS) / words[0], *words[1:]], env=only(environment), stdout=log, stderr=log
        )
        try:
            wait_for(f"{url}/_health", process)
            console.print(f"running at {url}/, log in {log.name}", soft_wrap=True)
            yield
        finally:
            process.terminate()
            process.wait()
            console.print("\nservice stopped")


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a service answers."""
    for _ in range(300):
        try:
            with ask(url):
                return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None:
                break
            time.sleep(0.1)
    console.print(f"[red]the service did not start; see {OUTPUT / 'service.log'}[/red]")
    sys.exit(1)


def wait() -> None:
    """Do nothing until Ctrl-C."""
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        pass


def show(question: str) -> None:
    """Ask the service and print the answer as a table."""
    with ask(f"{question}&format=json") as answer:
        results = json.load(answer)["results"]
    table = Table(box=None, pad_edge=False)
    for heading in ("NODE", "NETWORK"):
        table.add_column(heading)
    for heading in ("DELIVERED", "REQUESTS", "SUCCESSFUL", "CLIENTS"):
        table.add_column(heading, justify="right")
    for row in sorted(results, key=lambda row: -row["bytes"]):
        table.add_row(
            row["node"],
            row["network"] or "[dim](failed requests)[/dim]",
            decimal(row["bytes"]),
            f"{row['nb_reqs']:,}",
            f"{row['nb_successful_reqs']:,}",
            f"{row['clients']:,}",
        )
    console.print(table)


if __name__ == "__main__":
    # So that the service is stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    demo()
