"""The documents are true and complete, and their commands run."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import eida_stats_aggregator.archive.cli
import eida_stats_aggregator.cli
import eida_stats_aggregator.ringserver.cli
import eida_stats_aggregator.ringserver.follow
import eida_statsman.cli
from eida_statistics import errors
from eida_statistics.archive import errors as crawl_errors
from eida_stats_aggregator import errors as aggregator_errors
from eida_stats_aggregator.archive import errors as comparison_errors
from eida_stats_webservice import errors as service_errors
from eida_stats_webservice.archive import errors as archive_errors
from eida_stats_webservice.config import FILE_VARIABLE, Config
from eida_stats_webservice.connections import errors as connection_errors
from support.error_classes import list_classes
from support.node_client import make_node
from support.paths import ROOT
from support.payloads import payload, row
from support.service import PREFIX, Service
from support.stores import ON_ONE_STORE, Store

DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)

AGGREGATOR = ROOT / "aggregator" / "README.md"
WEBSERVICE = ROOT / "webservice" / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
RELIABILITY = ROOT / "docs" / "RELIABILITY.md"
UNITS = sorted(unit for part in ("aggregator", "webservice") for unit in (ROOT / part / "systemd").iterdir())

# The aggregator reports these; the others are the service's.
AGGREGATOR_ERRORS = [
    errors.UnreadableLog,
    aggregator_errors.WorkerLost,
    aggregator_errors.ClusterUnavailable,
    aggregator_errors.NothingToAggregate,
    comparison_errors.NothingToCompare,
    errors.InvalidClientClasses,
    aggregator_errors.AggregateExists,
    aggregator_errors.UnwritableDirectory,
    errors.RegistryUnavailable,
    errors.InvalidRegistry,
    aggregator_errors.NotDelivered,
    aggregator_errors.PayloadRefused,
]


def walk_commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all its subcommands, with the words that call them."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for word in command.list_commands(context):
        subcommand = command.get_command(context, word)
        assert subcommand is not None
        yield from walk_commands(subcommand, f"{name} {word}")


AGGREGATOR_COMMANDS = (
    eida_stats_aggregator.cli.cli,
    eida_stats_aggregator.ringserver.cli.cli,
    eida_stats_aggregator.ringserver.follow.cli,
    eida_stats_aggregator.archive.cli.cli,
    *dict(walk_commands(eida_stats_aggregator.archive.cli.cli, "eida_archive")).values(),
)


def list_options(command: click.Command) -> list[str]:
    """Return all options of a command, in each of their spellings."""
    return [
        spelling
        for parameter in command.get_params(click.Context(command, **command.context_settings))
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
    ]


def make_anchor(heading: str) -> str:
    """Return the fragment that links to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def read_tree(text: str) -> Iterator[Path]:
    """Yield the paths of an indented tree with four spaces per level."""
    (drawing,) = re.findall(r"^## The tree\n\n```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    above: list[str] = []
    for line in drawing.splitlines():
        name = line.split()[0]
        level, odd = divmod(len(line) - len(line.lstrip()), 4)
        assert not odd, line
        assert level <= len(above), line
        above[level:] = [name.rstrip("/")]
        yield Path(*above)


def read_console_blocks() -> list[list[str]]:
    """Return the commands of each block marked as console. The tests run these, block by block."""
    blocks = re.findall(r"^```console\n(.*?)^```", AGGREGATOR.read_text(), re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\$ (.*)$", block, re.MULTILINE) for block in blocks]


def environment() -> dict[str, str]:
    """Return an environment with the installed commands, without a developer's settings."""
    ours = {"TOKEN", "TOKEN_FILE", "SOURCE_DATE_EPOCH", "DATABASE_URI", "DATABASE_URI_FILE", "URL_PREFIX"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


def run(*words: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    variables = environment() | settings
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_aggregator_options_are_documented() -> None:
    table = "\n".join(line for line in AGGREGATOR.read_text().splitlines() if line.startswith("| `-"))

    missing = [option for one in AGGREGATOR_COMMANDS for option in list_options(one) if f"`{option}" not in table]

    assert not missing


def test_documented_aggregator_options_exist() -> None:
    cells = re.findall(r"^\| (`-.*?) \|", AGGREGATOR.read_text(), re.MULTILINE)
    documented = re.findall(r"`(-[-a-z]+)", "\n".join(cells))

    assert set(documented) == {option for command in AGGREGATOR_COMMANDS for option in list_options(command)}


def test_help_of_ringserverstats_names_its_variables() -> None:
    documented = re.findall(r"^\| `-.*\| `(RINGSERVER_[A-Z_]+)` \|$", AGGREGATOR.read_text(), re.MULTILINE)
    command = eida_stats_aggregator.ringserver.cli.cli

    shown = re.findall(r"RINGSERVER_[A-Z_]+", command.get_help(click.Context(command)))

    assert sorted(documented) == sorted(shown)


@pytest.mark.parametrize(
    ("typed", "command"),
    [pytest.param(*found, id=found[0]) for found in walk_commands(eida_statsman.cli.cli, "eida_statsman")],
)
def test_statsman_commands_are_documented(typed: str, command: click.Command) -> None:
    (line,) = re.findall(rf"^\| `({typed}\b.*?)` \|", WEBSERVICE.read_text(), re.MULTILINE)

    documented = set(re.findall(r"--[a-z-]+", line))

    assert documented == {option for option in list_options(command) if option.startswith("--")} - {"--help"}


def test_documented_statsman_commands_exist() -> None:
    existing = [typed for typed, _ in walk_commands(eida_statsman.cli.cli, "eida_statsman")]
    documented = re.findall(r"^\| `(eida_statsman(?: [a-z][a-z-]*)+)", WEBSERVICE.read_text(), re.MULTILINE)

    assert sorted(documented) == sorted(existing)


@pytest.mark.parametrize("error", AGGREGATOR_ERRORS)
def test_aggregator_errors_are_documented(error: type[errors.EidaStatisticsError]) -> None:
    assert f"| *{error().title}* |" in AGGREGATOR.read_text()


def test_problem_types_are_documented() -> None:
    # The aggregator's errors have the default type; these two cannot happen while the service answers.
    silent = {errors.ConfigurationError, errors.InvalidSketch, errors.RegistryUnavailable, errors.InvalidRegistry}
    # Only the administrator's command raises these.
    silent |= {service_errors.NodeExists, service_errors.UnknownNetwork, service_errors.UnknownToken}
    silent |= {
        service_errors.UnknownRole,
        service_errors.DatabaseNotEmpty,
        service_errors.Differences,
        service_errors.NotUpstream,
    }
    silent |= {service_errors.NotTakenOver}
    silent |= {connection_errors.UnknownSensor, connection_errors.UnusableSpace}
    silent |= {connection_errors.OverlappingInstallation, connection_errors.ArchiveDiffers}
    silent |= {connection_errors.ConnectionDifferences}
    silent |= {archive_errors.UnknownShard, archive_errors.ShardExists, archive_errors.NodeHasShards}
    silent |= {archive_errors.InvalidStations, archive_errors.RefusedCrawls}
    silent |= {archive_errors.OlderCrawl, archive_errors.ShrinkingCrawl, archive_errors.TooManyBadLines}
    silent |= {archive_errors.ForeignShard, archive_errors.CatalogueDifferences}
    silent |= {crawl_errors.InvalidLine, crawl_errors.InvalidCrawl, crawl_errors.InvalidPath}
    answered = {error.problem for error in list_classes()}
    answered -= {error.problem for error in silent}
    text = WEBSERVICE.read_text()

    missing = {problem for problem in answered if f"`{problem}`" not in text}

    assert not missing


def test_environment_variables_are_documented() -> None:

    text = WEBSERVICE.read_text()

    assert f"`{FILE_VARIABLE}`" in text
    for field in Config.__struct_fields__:
        assert f"| `{field.upper()}` | `{field}` |" in text


def test_tables_and_columns_are_documented() -> None:
    text = WEBSERVICE.read_text()
    for migration in (ROOT / "migrations" / "sqlite").glob("*[!k].sql"):
        for table, columns in re.findall(
            r"CREATE TABLE (\w+) \((.*?)^\);", migration.read_text(), re.DOTALL | re.MULTILINE
        ):
            # SQLite recreates a table where PostgreSQL changes it.
            assert f"`{table.removeprefix('new_')}`" in text
            for column in re.findall(r"^    ([a-z]\w*) ", columns, re.MULTILINE):
                assert f"`{column}`" in text, f"{table}.{column}"


def test_paths_in_the_architecture_exist() -> None:
    missing = [path for path in read_tree(ARCHITECTURE.read_text()) if not (ROOT / path).exists()]

    assert not missing


def test_folders_are_in_the_architecture() -> None:
    drawn = {ROOT / path for path in read_tree(ARCHITECTURE.read_text())}
    tracked = ["eida_statistics", "aggregator", "webservice", "migrations", "tests"]
    folders = {
        path.parent
        for folder in tracked
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sql"} and "eida_stats_webservice/migrations" not in str(path)
    }

    assert not folders - drawn


def test_tests_named_in_reliability_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", RELIABILITY.read_text())

    assert named
    assert not [(path, name) for path, name in named if f"\ndef {name}(" not in (ROOT / path).read_text()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_work(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert fragment in map(make_anchor, headings), target


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"^    make ([a-z]+)|`make ([a-z]+)", document.read_text(), re.MULTILINE)
        for target in target
        if target
    }

    assert {"demo", "test"} <= named <= targets


@ON_ONE_STORE
def test_python_example_reads_statistics(service_uri: str, store: Store, tmp_path: Path) -> None:
    """A network and a country are called NA, which pandas could read as missing."""
    node, _ = make_node(store, "NODE1")
    store.dataselect.ingest(node, payload(row(network="NA", country="NA"), row()))
    (example,) = re.findall(r"^```python\n(.*?)^```", WEBSERVICE.read_text(), re.MULTILINE | re.DOTALL)
    with Service(service_uri, tmp_path, workers=1) as service:
        code = example.replace("https://example.org/eidaws/statistics/1", service.url)
        done = run(sys.executable, "-c", code + "print(table.to_csv(index=False))", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^NA +512$", done.stdout, re.MULTILINE)
    assert "2026-10,*,NA,*,*,*,NA,512,1,1,1" in done.stdout


@ON_ONE_STORE
@pytest.mark.parametrize("document", [ROOT / "README.md", WEBSERVICE], ids=["overview", "webservice"])
def test_door_examples_run(store_uri: str, store: Store, tmp_path: Path, document: Path) -> None:
    text = document.read_text()
    administrator = re.findall(r"^ {4,6}(eida_statsman (?:spaces|sensors) (?:add|install) .*)$", text, re.MULTILINE)
    client = re.findall(r"^ {4,6}(curl .*https://example\.org/(?:send|count|\?).*)$", text, re.MULTILINE)
    make_node(store, "NODE1")
    for command in administrator:
        ran = run("bash", "-c", command, folder=tmp_path, DATABASE_URI=store_uri)
        assert ran.returncode == 0, f"{command}\n{ran.stderr}"
    with Service(store_uri, tmp_path, workers=1) as service:
        root = service.url.removesuffix(PREFIX)
        answers = [
            run("bash", "-c", command.replace("https://example.org", root), folder=tmp_path).stdout.strip()
            for command in client
        ]
    assert list(dict.fromkeys(answers)) == re.findall(r'`(\{"status":.*?\})`', text)


def test_demo_prints_the_stored_statistics(tmp_path: Path) -> None:
    """Also where the developer has set other databases, services and proxies."""
    production = tmp_path / "production.db"
    (tmp_path / "uri").write_text(f"sqlite:///{production}")
    (tmp_path / "config.toml").write_text(f'database_uri = "sqlite:///{production}"')
    settings = {
        "DATABASE_URI_FILE": str(tmp_path / "uri"),
        "EIDA_STATS_CONFIG": str(tmp_path / "config.toml"),
        "URL_PREFIX": "/other",
        "MAX_PAYLOAD_BYTES": "1024",
        "TOKEN_FILE": str(tmp_path / "missing"),
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
        "NO_PROXY": "",
    }

    ran = run(sys.executable, str(ROOT / "demo.py"), folder=tmp_path, **settings)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    heading = "NODE  NETWORK            DELIVERED  REQUESTS  SUCCESSFUL  CLIENTS"
    assert heading in ran.stdout
    assert heading in (ROOT / "README.md").read_text()
    assert "DEMO  (failed requests)" in ran.stdout
    for line in re.findall(r"^ *[\d.,]+(?: GB)?  (.*)$", (ROOT / "README.md").read_text(), re.MULTILINE):
        words = re.sub(r"[\d,]+", "", line)
        assert words in re.sub(r"[\d,]+", "", ran.stdout), line
    assert "$ TOKEN=… eida_stats_aggregator" in ran.stdout
    assert "use your own with: make demo LOG=file\n" in ran.stdout
    assert not production.exists()


@pytest.mark.parametrize(("option", "named"), [("--log", "LOG"), ("--networks", "NETWORKS")])
def test_demo_keeps_its_input(tmp_path: Path, option: str, named: str) -> None:
    given = tmp_path / "demo-output" / "given"
    given.parent.mkdir()
    given.write_text("my own")

    refused = run(sys.executable, str(ROOT / "demo.py"), option, "demo-output/given", folder=tmp_path)

    assert refused.returncode == 2
    assert named in refused.stderr
    assert given.read_text() == "my own"


def test_examples_for_operators_run(tmp_path: Path) -> None:
    days = ["2020-11-01", "2020-11-02"]
    for day in days:
        made = ["--requests", "300", "--day", day, "--registry", "networks.json", f"fdsnws-requests.log.{day}.bz2"]
        ready = run(sys.executable, "-m", "benchmarks.make_log", *made, folder=tmp_path)
        assert ready.returncode == 0, ready.stderr
    for command in [command for block in read_console_blocks() for command in block]:
        # With pipefail the part before a pipe must succeed as well; `head` closes its pipe early.
        shell = ["bash", "-c", command] if "| head" in command else ["bash", "-o", "pipefail", "-c", command]
        ran = run(*shell, folder=tmp_path)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    assert (tmp_path / "aggregates" / "2020-11-02_2020-11-02.json.gz").exists()
    assert (tmp_path / "servers" / "2020-11-01_2020-11-01_a.json.gz").exists()
    assert (tmp_path / "both" / "2020-11-01_2020-11-02.json.gz").exists()


def test_examples_for_operators_are_found() -> None:
    assert sum(map(len, read_console_blocks())) >= 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_units_are_valid(tmp_path: Path) -> None:
    (service,) = re.findall(r"^```ini\n(.*?)^```", WEBSERVICE.read_text(), re.MULTILINE | re.DOTALL)
    units = {"eida-statistics.service": service, **{unit.name: unit.read_text() for unit in UNITS}}
    for name, unit in units.items():
        # The commands are not installed where these tests run.
        (tmp_path / name).write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE))

    ran = run("systemd-analyze", "verify", *(str(tmp_path / name) for name in units), folder=tmp_path)

    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")
