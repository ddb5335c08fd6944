"""eida_statsman report --all: which reports there are, their files, and their index."""

import datetime
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.reports.kinds import KINDS
from eida_stats_webservice.reports.models import Scope
from eida_statsman.report_all import choose_targets, name_files
from support.federation import fill
from support.node_client import make_node
from support.ringserver_federation import fill_streaming
from support.statsman import Statsman
from support.stores import open_store

YEAR = ("report", "--all", "--year", "2024")
NAME = "<script>alert(1)</script>" + 200 * "x"
# Silent has never sent anything, and ZZ has no statistics. A1 is restricted. Days of B are due.
STEMS = {"federation", "node-A", "node-a-2", "node-N---d-", "node-B"}
STEMS |= {"network-GE", "network-A0", "network-B0", "network-B1", "network-C0", "network-C1"}


@pytest.fixture(scope="module")
def folder(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a database and a registry."""
    made = tmp_path_factory.mktemp("all")
    shutil.copy(sqlite_template, made / "statistics.db")
    with closing(open_store(f"sqlite:///{made}/statistics.db")) as store:
        fill(store, ["A", "a", "N<ö d>"], [2024], networks=2)
        fill(store, ["B"], [2023], networks=1)
        store.registry.set_network_policy("A", "A1", inverted=True)
        make_node(store, "Silent")
        store.registry.add_network("A", "ZZ")
    networks = [
        {"fdsn_code": "GE", "start_date": "1993-01-01", "name": NAME},
        {"fdsn_code": "A1", "start_date": "2001-01-01", "name": "Restricted"},
    ]
    (made / "networks.json").write_text(json.dumps({"networks": networks}))
    return made


@pytest.fixture(scope="module")
def statsman(folder: Path) -> Statsman:
    return Statsman(f"sqlite:///{folder}/statistics.db")


@pytest.fixture(scope="module")
def written(folder: Path, statsman: Statsman) -> Path:
    """Return a directory with all reports of 2024 as HTML and CSV, and a file of another program."""
    (folder / "2024").mkdir()
    (folder / "2024" / "notes.txt").write_text("mine")
    options = ("--format", "html,csv,html", "--networks", str(folder / "networks.json"))
    finished = statsman(*YEAR, "-o", str(folder / "2024"), *options)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    return folder / "2024"


class Index(HTMLParser):
    """Collects the texts and links of an index."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["node GFZ", "network GE", "federation"], ["node-GFZ", "network-GE", "federation"]),
        (["node a.b_c-d"], ["node-a.b_c-d"]),
        (["node ../../etc", "node <b>&\"'", "node Zürich"], ["node-..-..-etc", "node--b----", "node-Z-rich"]),
        # The name with the fewest odd characters has no number, wherever it stands.
        (["node A B", "node A/B", "node A-B"], ["node-A-B-2", "node-A-B-3", "node-A-B"]),
        (["node A B", "node A-B", "node A-B-2"], ["node-A-B-3", "node-A-B", "node-A-B-2"]),
        (["node gfz", "node GFZ", "node Gfz"], ["node-gfz-3", "node-GFZ", "node-Gfz-2"]),
        (["node ö", "node ü"], ["node--", "node---2"]),
    ],
)
def test_names_of_files_differ(names: list[str], stems: list[str]) -> None:
    assert list(map(name_files(names).get, names)) == stems
    assert name_files(reversed(names)) == name_files(names)


def test_without_the_federation_all_are_tried() -> None:
    scopes = [Scope(), Scope(node=("A",)), Scope(network="GE")]
    found = choose_targets(KINDS[Kind.DATASELECT], scopes, None)
    assert [one.scope for one in found] == scopes
    assert [one.name for one in found] == ["federation", "node A", "network GE"]


def test_nodes_and_public_networks_have_reports(written: Path) -> None:
    expected = {f"{stem}.{form}" for stem in STEMS for form in ("html", "csv")}
    assert {path.name for path in written.iterdir()} == expected | {"index.html", "notes.txt"}
    assert (written / "notes.txt").read_text() == "mine"
    assert "on request by N&lt;ö d&gt; in 2024" in (written / "node-N---d-.html").read_text()
    assert "Restricted" not in "".join(path.read_text() for path in written.iterdir())


def test_index_links_to_all_reports(written: Path) -> None:
    index = Index(written / "index.html")
    assert set(index.links) == {path.name for path in written.iterdir()} - {"index.html", "notes.txt"}
    assert {NAME, "HTML", "CSV", "GE", "N<ö d>", "Reports of data delivered on request in 2024"} <= set(index.texts)
    assert not {"script", "link", "img"} & index.tags
    report = (written / "federation.html").read_text()
    assert get_policy(written / "index.html") in report


def get_policy(path: Path) -> str:
    (line,) = [line for line in path.read_text().splitlines() if "Content-Security-Policy" in line]
    return line


def test_kinds_have_their_own_files(written: Path, folder: Path, statsman: Statsman, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    earlier = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    shutil.copy(folder / "statistics.db", tmp_path / "streaming.db")
    uri = f"sqlite:///{tmp_path}/streaming.db"
    with closing(open_store(uri)) as store:
        fill_streaming(store, ["A"], [datetime.date(2024, 2, 1)], networks=1)
    Statsman(uri).run("report", "--all", "--kind", "ringserver", "--month", "2024-02", "-o", str(tmp_path))
    names = {path.name for path in tmp_path.iterdir()} - {*earlier, "streaming.db"}
    stems = ("index", "federation", "node-A", "network-GE", "network-A0")
    assert names == {f"ringserver-{stem}.html" for stem in stems}
    assert set(Index(tmp_path / "ringserver-index.html").links) == names - {"ringserver-index.html"}
    assert all((tmp_path / name).read_bytes() == content for name, content in earlier.items())


def test_same_state_makes_the_same_files(written: Path, statsman: Statsman, folder: Path, tmp_path: Path) -> None:
    options = ("--format", "html,csv", "--networks", str(folder / "networks.json"))
    statsman.run(*YEAR, "-o", str(tmp_path), *options)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (written / path.name).read_bytes(), path.name


def test_failed_file_is_named_and_others_written(statsman: Statsman, tmp_path: Path) -> None:
    for name in ("federation.html", "network-GE.html"):
        (tmp_path / name).mkdir()
    finished = statsman(*YEAR, "-o", str(tmp_path))
    assert (finished.returncode, finished.stdout) == (1, "")
    (line,) = finished.stderr.splitlines()
    assert "federation (federation.html), network GE (network-GE.html): Is a directory" in line
    links = Index(tmp_path / "index.html").links
    assert {"federation.html", "network-GE.html"}.isdisjoint(links)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {*links, "index.html"}
    assert "could not be written" in (tmp_path / "index.html").read_text()


def test_bad_registry_is_refused_before_writing(statsman: Statsman, tmp_path: Path) -> None:
    (tmp_path / "networks.json").write_text("[]")
    directory = tmp_path / "made" / "here"
    refused = statsman(*YEAR, "-o", str(directory), "--networks", str(tmp_path / "networks.json"))
    assert refused.returncode == 1
    assert "not a registry of networks" in refused.stderr
    assert not directory.exists()


def name_existing_file(folder: Path) -> str:
    folder.parent.joinpath("file").touch()
    return str(folder.parent / "file")


@pytest.mark.parametrize(
    ("options", "name_output", "words"),
    [
        (("--all", "--node", "A"), str, "--all excludes --node, --network and --restricted"),
        (("--all", "--network", "GE"), str, "--all excludes"),
        (("--all", "--restricted"), str, "--all excludes"),
        (("--all",), lambda _: "-", "Name a directory with --output"),
        (("--all",), name_existing_file, "is no directory"),
        (("--all", "--format", "html,doc,"), str, "there is no 'doc', ''. Use html, "),
        (("--format", "html,csv"), str, "Only --all writes several."),
        (("--all", "--month", "2024-01"), str, "State one period"),
    ],
)
def test_wrong_options_are_explained(
    statsman: Statsman, tmp_path: Path, options: tuple[str, ...], name_output: Callable[[Path], str], words: str
) -> None:
    refused = statsman("report", "--year", "2024", "-o", name_output(tmp_path / "reports"), *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert not (tmp_path / "reports").exists()


def test_progress_is_shown_on_a_terminal(folder: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).with_name("eida_statsman"), *YEAR, "-o", tmp_path]
    environment = {**os.environ, "DATABASE_URI": f"sqlite:///{folder}/statistics.db", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        # At the end of the process, Linux reports an error and not the end of the file.
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:
            os.close(ours)
        printed, _ = process.communicate()
    assert (process.returncode, printed) == (0, b"")
    assert b"Making reports" in shown
    assert b"100%" in shown
