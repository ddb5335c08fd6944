"""Archives of miniSEED for tests, and their crawls."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymseed import DataEncoding, MS3TraceList

from eida_statistics.archive.lines import parse_line
from support.commands import run_command
from support.stubs import environment

# The records of a path in a crawl, by their types.
Records = dict[str, dict[str, Any]]

_CAPABILITIES = "-dac_override,-dac_read_search"
# A registry in which the code Z3 has two epochs.
REGISTRY = {
    "networks": [
        {"fdsn_code": "Z3", "start_date": "2005-01-01", "end_date": "2007-12-31"},
        {"fdsn_code": "Z3", "start_date": "2015-01-01", "end_date": "2022-12-31"},
    ]
}


def make_mseed(
    sid: str = "FDSN:GE_APE__L_H_Z",
    start: str = "2015-03-01T00:00:00Z",
    samples: int = 1200,
    *,
    rate: float = 1.0,
    version: int = 2,
    length: int = 512,
    quality: int = 2,
) -> bytes:
    """Return miniSEED of one stream. Records do not depend on each other, so parts of it may be joined."""
    traces = MS3TraceList()
    data = [(number * 7919) % 4096 for number in range(samples)]
    traces.add_data(sid, data, "i", rate, starttime_str=start, publication_version=quality)
    return _pack(traces, version, length, DataEncoding.STEIM2)


def make_log_record(text: bytes, start: str, version: int = 2) -> bytes:
    """Return miniSEED of a log channel, whose rate is 0."""
    traces = MS3TraceList()
    traces.add_data("FDSN:GE_APE__L_O_G", text, "t", 0.0, starttime_str=start, publication_version=2)
    return _pack(traces, version, 512, DataEncoding.TEXT)


def _pack(traces: MS3TraceList, version: int, length: int, encoding: DataEncoding) -> bytes:
    return b"".join(
        bytes(record)
        for record in traces.generate(
            flush_data=True, max_record_length=length, encoding=encoding, format_version=version
        )
    )


def write(path: Path, content: bytes) -> Path:
    """Write a file of an archive, in a directory that may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_day(archive: Path, day: int = 60, station: str = "APE", samples: int = 1200) -> Path:
    """Write a day file of 2015 with its name in SDS."""
    path = archive / "2015" / "GE" / station / "LHZ.D" / f"GE.{station}..LHZ.D.2015.{day:03d}"
    return write(path, make_mseed(f"FDSN:GE_{station}__L_H_Z", f"2015-{day:03d}T00:00:00Z", samples))


def run_crawl(
    root: Path, output: Path, *options: str | Path, path: str = "/GFZ/archive", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    words = ["crawl", root, "--as", path, "-o", output, *options]
    # No test reaches the registry of FDSN.
    settings = environment(output.parent, FDSN_NETWORKS_URL="http://127.0.0.1:9/", **env)
    done = run_command("eida_archive", words, folder=output.parent, environment=settings)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_unprivileged(words: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that may not read what its owner may not read, even if root runs the tests."""
    wrapper = []
    if os.geteuid() == 0:
        assert shutil.which("setpriv") is not None
        wrapper = ["setpriv", f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}"]
    main = "from eida_stats_aggregator.archive.cli import main; main()"
    command = [*wrapper, sys.executable, "-c", main, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)


def crawl(root: Path, *options: str | Path, path: str = "/GFZ/archive", code: int = 0) -> dict[str, Records]:
    """Return the records of a crawl, by path."""
    output = root.parent / "crawl.tsv.gz"
    done = run_crawl(root, output, "--quiet", *options, path=path)
    assert done.returncode == code, done.stderr
    return read_crawl(output)


def read_crawl(file: Path) -> dict[str, Records]:
    """Return the records of a crawl, by path, without its first and last line."""
    found: dict[str, Records] = {}
    for line in gzip.decompress(file.read_bytes()).splitlines()[1:-1]:
        path, md_type, content = parse_line(line)
        assert md_type not in found.setdefault(path, {})
        found[path][md_type] = json.loads(content)
    return found


def read_ends(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the records of the first and of the last line of a crawl."""
    lines = gzip.decompress(file.read_bytes()).splitlines()
    first, last = (parse_line(line) for line in (lines[0], lines[-1]))
    assert first.md_type == last.md_type == "crawl"
    return json.loads(first.json), json.loads(last.json)


def drop_access_times(crawled: dict[str, Records]) -> dict[str, Records]:
    """Return the records of a crawl without the times that crawling itself changes."""
    return {
        path: {
            md_type: {name: value for name, value in record.items() if name != "atime"}
            for md_type, record in records.items()
        }
        for path, records in crawled.items()
    }
