"""Measure how fast crawls get into the catalogue, beside a trigger that stores each line.

Such a trigger is the way of GSKY, from which the catalogue has its tables. Ours here is an equivalent that is as
short as possible, and fills `paths` and `metadata` only, with their indexes; GSKY's own was measured beside it, see
README.md. A third side only copies the finished rows of all tables, and indexes them. The crawls are those of
archives that exist on paper.
"""

import datetime
import io
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.ingest import seconds_of
from eida_statistics.archive.crawl_file import CrawlWriter, compress_lines, read_lines
from eida_statistics.archive.lines import CrawlLine, format_line, parse_line
from eida_statistics.archive.paths import hash_path
from eida_statistics.archive.records import (
    MSEED,
    POSIX,
    CrawlRecord,
    MseedRecord,
    PosixRecord,
    Segment,
    encode_record,
)
from eida_stats_webservice.archive.ingestion import CrawlIngestion
from eida_stats_webservice.archive.shards import ShardRepository
from eida_stats_webservice.archive.storage import VIEWS, read_script
from eida_stats_webservice.database import migrations, open_database
from eida_stats_webservice.registry.repository import RegistryRepository
from support.postgresql import Cluster

FILES = 250_000
PATHS = 1_000_000
_CHANGES = 3_000
_TIMES_TRIGGER, _CHANGES_AIM, _BELOW_AIM = 4.0, 15.0, 0.010

_ROOT = "/GFZ/archive"
_STARTED = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
_FIRST_DAY = datetime.datetime(2011, 1, 1, tzinfo=datetime.UTC)
_DAY, _SAMPLE = datetime.timedelta(days=1), datetime.timedelta(seconds=0.01)
_LINES_AT_ONCE = 5_000
_YEAR, _CHANNELS = 365, ("HHZ", "HHN", "HHE")

_TRIGGER = """
CREATE TABLE lines (path text, type text, json jsonb);
CREATE FUNCTION store_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    parts text[] := string_to_array(NEW.path, '/');
    parents uuid[];
BEGIN
    SELECT array_agg(md5(array_to_string(parts[:n], '/'))::uuid ORDER BY n) INTO parents
    FROM generate_series(2, array_length(parts, 1) - 1) AS n;
    INSERT INTO paths (pa_hash, pa_type, pa_path, pa_parents)
    VALUES (
        md5(NEW.path)::uuid, CASE NEW.type WHEN 'posix' THEN (NEW.json->>'type')::public.path_type END, NEW.path,
        parents
    )
    ON CONFLICT (pa_hash) DO UPDATE SET pa_ingested = now();
    INSERT INTO metadata (md_hash, md_type, md_json) VALUES (md5(NEW.path)::uuid, NEW.type, NEW.json)
    ON CONFLICT (md_hash, md_type) DO UPDATE SET md_json = excluded.md_json, md_ingested = now();
    RETURN NULL;
END
$$;
CREATE TRIGGER store_line BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION store_line();
"""


def measure(console: Console, runs: int, files: int = FILES, paths: int = PATHS) -> None:
    """Print the medians of lines per second, and the seconds of changes."""
    with tempfile.TemporaryDirectory() as name, Cluster(durable=True) as cluster:
        file = Path(name) / "crawl.tsv.gz"
        lines = write_archive(file, files)
        table = Table("ingest a crawl, PostgreSQL, one connection", "lines/s", "× trigger", title_justify="left")
        by_trigger, by_merge, by_copy = [], [], []
        for run in range(runs):
            by_trigger.append(lines / measure_trigger(cluster, f"trigger_{run}", file))
            with _Centre(cluster, f"merge_{run}") as centre:
                by_merge.append(lines / seconds_of(lambda: centre.ingestion.ingest("gfz", file)))
                by_copy.append(lines / _measure_copy(centre.uri))
        trigger = statistics.median(by_trigger)
        for work, rates in (
            ("row by row, by a trigger; paths and metadata only", by_trigger),
            (f"{lines:,} lines into an empty shard", by_merge),
            ("only COPY of the rows of all tables, and their indexes", by_copy),
        ):
            rate = statistics.median(rates)
            table.add_row(work, f"{rate:,.0f}", f"{rate / trigger:.1f}")
        console.print(table)
        console.print(_measure_changes(cluster, Path(name), paths))
    console.print(
        f"\nAims: {_TIMES_TRIGGER:g} × the trigger; changes in {_CHANGES_AIM:g} s; paths below a station in"
        f" {_BELOW_AIM * 1000:g} ms"
    )


def measure_trigger(cluster: Cluster, name: str, file: Path) -> float:
    """Return the seconds in which a trigger stores a crawl."""
    with _Centre(cluster, name) as centre, closing(psycopg2.connect(centre.uri)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET search_path = gfz, public")
        cursor.execute(_TRIGGER)
        connection.commit()

        def load() -> None:
            # The driver accepts any file, unlike its stubs.
            cursor.copy_expert("COPY lines FROM STDIN", _RawLines(read_lines(file)))  # type: ignore[arg-type]
            connection.commit()

        return seconds_of(load)


def _measure_copy(uri: str) -> float:
    """Return the seconds in which PostgreSQL copies the finished rows of a shard, and indexes them: the least."""
    with closing(psycopg2.connect(uri)) as connection, connection.cursor() as cursor:
        texts = {}
        for name in [*VIEWS, "digests"]:
            texts[name] = io.BytesIO()
            cursor.copy_expert(f"COPY gfz.{name} TO STDOUT", texts[name])
            texts[name].seek(0)
        connection.commit()

        def load() -> None:
            cursor.execute("SET LOCAL maintenance_work_mem = '256MB'; CREATE SCHEMA copied")
            cursor.execute("SET LOCAL search_path = copied, public")
            cursor.execute(read_script("shard"))
            for name, text in texts.items():
                cursor.copy_expert(f"COPY {name} FROM STDIN", text)
            cursor.execute(read_script("shard_indexes"))
            connection.commit()

        return seconds_of(load)


class _RawLines:
    """A crawl as a file for COPY, whose escapes it has."""

    def __init__(self, numbered: Iterator[tuple[int, bytes]]) -> None:
        self._numbered = numbered

    def read(self, _size: int = -1, /) -> bytes:
        some = []
        for _, line in self._numbered:
            some.append(line + b"\n")
            if len(some) == _LINES_AT_ONCE:
                break
        return b"".join(some)


class _Centre:
    """A database with an empty shard."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.uri = cluster.create_database(name)
        migrations.apply(self.uri)
        self._database = open_database(self.uri)
        self._cluster, self._name = cluster, name
        registry = RegistryRepository(self._database)
        registry.add_node("GFZ", "")
        shards = ShardRepository(self._database, registry)
        shards.create("gfz", _ROOT, "GFZ", open_paths=False)
        self.ingestion = CrawlIngestion(self._database, shards)

    def __enter__(self) -> "_Centre":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._cluster.drop_database(self._name)


def _measure_changes(cluster: Cluster, folder: Path, paths: int) -> Table:
    """Ingest a crawl, and another one in which some files have changed."""
    first, second = folder / "first.tsv.gz", folder / "second.tsv.gz"
    write_archive(first, paths)
    lines = write_archive(second, paths, changes=_CHANGES, started=_STARTED + _DAY)
    table = Table("", "seconds", title_justify="left")
    with _Centre(cluster, "changes") as centre:
        centre.ingestion.ingest("gfz", first)
        with closing(psycopg2.connect(centre.uri)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            # As some time later.
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("SELECT pg_current_wal_lsn()")
            whole = seconds_of(lambda: centre.ingestion.ingest("gfz", second))
            reading = seconds_of(lambda: [parse_line(line) for _, line in read_lines(second)])
            table.add_row(f"{_CHANGES:,} changes in {paths:,} paths: {lines:,} lines, with reading", f"{whole:.1f}")
            table.add_row("reading those lines alone", f"{reading:.1f}")
            station = f"{_ROOT}/2011/GE/S000"
            cursor.execute("SET search_path = public")
            statement = "SELECT pa_path FROM paths WHERE sh_code = 'gfz' AND pa_parents @> ARRAY[%s]::uuid[]"
            seconds = statistics.median(
                seconds_of(lambda: cursor.execute(statement, (hash_path(station),))) for _ in range(20)
            )
            table.add_row(f"{cursor.rowcount:,} paths below a station", f"{seconds:.4f}")
    return table


def write_archive(file: Path, files: int, *, changes: int = 0, started: datetime.datetime = _STARTED) -> int:
    """Write the crawl of an archive with so many day files, and return its number of lines."""
    writer = CrawlWriter(file, _ROOT, CrawlRecord(started=started, root="/data"))
    pending: list[bytes] = []
    lines = 2
    for line in _describe_archive(files, changes):
        pending.append(format_line(line))
        lines += 1
        if len(pending) == _LINES_AT_ONCE:
            writer.write(compress_lines(b"".join(pending)))
            pending.clear()
    writer.write(compress_lines(b"".join(pending)))
    writer.finish(CrawlRecord(finished=started + _DAY, errors=0))
    return lines


def _describe_archive(files: int, changes: int) -> Iterator[CrawlLine]:
    """Yield the lines of an archive of SDS with three channels for each station; the last files have changed."""
    known: set[str] = set()
    for number in range(files):
        day, station = number % _YEAR, number // _YEAR // len(_CHANNELS) % 100
        year = 2011 + number // _YEAR // len(_CHANNELS) // 100
        channel = _CHANNELS[number // _YEAR % len(_CHANNELS)]
        folder = f"{_ROOT}/{year}/GE/S{station:03d}/{channel}.D"
        for directory in _list_directories(folder):
            if directory not in known:
                known.add(directory)
                yield _describe_posix(directory, number, "directory", 0)
        path = f"{folder}/GE.S{station:03d}..{channel}.D.{year}.{day + 1:03d}"
        is_changed = number >= files - changes
        yield _describe_posix(path, number, "file", int(is_changed))
        yield CrawlLine(path, MSEED, _describe_content(f"S{station:03d}", channel, year, day, is_changed))


def _list_directories(folder: str) -> list[str]:
    parts = folder.removeprefix(_ROOT).split("/")
    return [_ROOT + "/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _describe_posix(path: str, number: int, kind: str, changes: int) -> CrawlLine:
    time = 1_420_070_400 + number + changes
    record = PosixRecord(
        type="file" if kind == "file" else "directory",
        size=10_485_760 + changes * 4096,
        mode="-rw-r--r--",
        inode=100_000 + number,
        uid=1000,
        gid=1000,
        atime=time,
        ctime=time,
        mtime=time,
        dev=2049,
        nlink=1,
        mtime_ns=time * 1_000_000_000 + number,
    )
    return CrawlLine(path, POSIX, encode_record(record))


def _describe_content(station: str, channel: str, year: int, day: int, is_changed: bool) -> bytes:
    start = _FIRST_DAY.replace(year=year) + _DAY * day
    segment = Segment(
        sid=f"FDSN:GE_{station}__{'_'.join(channel)}",
        network="GE",
        station=station,
        location="",
        channel=channel,
        quality="D",
        rate=100.0,
        start=start,
        end=start + _DAY - _SAMPLE - (_DAY / 2 if is_changed else datetime.timedelta()),
        samples=8_640_000,
        records=2_560,
        bytes=10_485_760 + 4096 * is_changed,
    )
    return encode_record(MseedRecord(segments=[segment]))
