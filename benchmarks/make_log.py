"""Generate a request log in the form of SeisComP's fdsnws. The same seed produces the same log.

It resembles a real log. A few busy clients walk through the stations with one window of time and three components
in each request. Some fetch dozens of streams at once. Many send the same small request once, to measure the
distance of the data centre. User IDs, addresses and stations are invented.
"""

import bz2
import datetime
import gzip
import json
import lzma
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, chain, cycle, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import click

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SERVICE = "fdsnws-dataselect"
# Clients that send requests at the same time: in a real log, the requests of several clients are interleaved.
SESSIONS_AT_ONCE = 6

# Each of these formats allows streams one after another, so parts can be compressed at the same time.
_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".bz2": bz2.compress,
    ".gz": partial(gzip.compress, mtime=0),
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}
_LINES_PER_STREAM = 6000

_PERMANENT = ["GE", "CX", "GR", "CZ", "HL", "IO", "KV", "NU", "WM", "PL"]
# Codes that were given out more than once, with deployments that end, overlap, and are still open.
_TEMPORARY: dict[str, list[tuple[str, str | None]]] = {
    "3D": [("2014-01-01", "2016-12-31"), ("2021-01-01", "2025-12-31")],
    "5E": [("2011-03-01", "2013-10-31")],
    "9A": [("2009-01-01", "2010-12-31"), ("2012-05-15", "2014-05-14"), ("2019-02-01", None)],
    "XN": [("2008-01-01", "2009-12-31"), ("2016-06-01", "2019-12-31")],
    "YV": [("1999-07-01", "2000-12-31"), ("2011-01-01", "2016-12-31")],
    "Z3": [("2005-01-01", "2007-12-31"), ("2015-01-01", "2022-12-31")],
    "ZE": [("2012-01-01", "2014-12-31"), ("2014-06-01", "2018-12-31")],
}
_COUNTRIES = [
    "US",
    "DE",
    "ID",
    "CN",
    "IT",
    "TW",
    "FR",
    "CH",
    "GB",
    "JP",
    "CL",
    "NO",
    "GR",
    "TR",
    "IN",
    "BR",
    "A1",
    "EU",
]
_OBSPY = [
    "ObsPy/1.2.2 (Windows-10-10.0.18362-SP0, Python 3.7.8)",
    "ObsPy/1.1.0 (Linux-5.4.0-42-generic-x86_64-with-debian-bullseye-sid, Python 3.7.",
    "ObsPy/1.2.1 (Linux-3.10.0-1127.18.2.el7.x86_64-x86_64-with-glibc2.10, Python 3.8",
    "ObsPy/1.2.2 (Darwin-19.6.0-x86_64-i386-64bit, Python 3.8.5)",
]
_FETCH = [
    "fdsnws_fetch/2020.198 (Linux 4.15.0-112-generic)",
    "FetchData/2017.164 Perl/5.016003 libwww-perl/6.44",
]
_MEASURE = [
    "IRISDMC DataCenterMeasure/2019.136 Perl/5.018004 libwww-perl/6.13",
    "IRISDMC DataCenterMeasure/2019.227 Perl/5.016003 libwww-perl/6.39",
    "IRISDMC DataCenterMeasure/2019.227 Perl/5.010001 libwww-perl/6.08",
]
_CURL = ["curl/7.65.3", "Wget/1.20.3 (linux-gnu)"]
_BROWSER = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:80.0) Gecko/20100101 Firefox/80.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/85.0",
]

Entry: TypeAlias = dict[str, Any]


class _Stream(NamedTuple):
    """A channel of a station, and its bytes per hour."""

    network: str
    station: str
    location: str
    channel: str
    hourly: int
    restricted: bool


class _Station(NamedTuple):
    """A station, and the days with data."""

    streams: list[_Stream]
    first: datetime.date
    last: datetime.date


class _Client(NamedTuple):
    agent: str
    user: int
    location: Entry
    email: str | None
    habit: str


class _Window(NamedTuple):
    """The hours of data of a request."""

    start: datetime.datetime
    hours: float


class _Asked(NamedTuple):
    """The streams and hours of a request."""

    client: _Client
    streams: list[_Stream]
    window: _Window


class _World(NamedTuple):
    rng: random.Random
    day: datetime.date
    stations: list[_Station]
    station_weights: list[float]
    clients: list[_Client]
    client_weights: list[float]


def registry() -> Entry:
    """Return the networks of the log in the format of the FDSN networks/1 service."""
    return {
        "networks": [
            {"fdsn_code": code, "name": f"Deployment of {start[:4]}", "start_date": start, "end_date": end}
            for code, epochs in _TEMPORARY.items()
            for start, end in epochs
        ]
    }


def requests(
    seed: int,
    day: datetime.date,
    number: int,
    *,
    stations: int = 400,
    clients: int = 1000,
    other_services: bool = False,
) -> Iterator[Entry]:
    """Yield the requests of a UTC day in the order in which they ended.

    Args:
        seed: the same one produces the same log.
        day: all requests begin and end on it.
        number: of requests, five streams in each on average.
        stations: how many there are; the first are asked for most.
        clients: how many regular clients there are; as many again come once or twice.
        other_services: put requests to fdsnws-station in, one in twenty.
    """
    world = _world(random.Random(seed), day, stations, clients)
    rng = world.rng
    sessions = [_session(world) for _ in range(SESSIONS_AT_ONCE)]
    midnight = datetime.datetime.combine(day, datetime.time())
    gap = 86_399_000_000 / max(number, 1)
    previous = midnight
    for count in range(number):
        finished = midnight + datetime.timedelta(microseconds=int(gap * (count + rng.random())))
        # Python leaves a fraction of zero out, which a reader of a million lines will meet.
        whole = finished.replace(microsecond=0)
        if whole >= previous and rng.random() < 0.01:
            finished = whole
        previous = finished
        # The geometric choice makes runs of one client.
        place = min(int(rng.expovariate(1.2)), SESSIONS_AT_ONCE - 1)
        asked = next(sessions[place], None)
        while asked is None:
            sessions[place] = _session(world)
            asked = next(sessions[place], None)
        if other_services and rng.random() < 0.05:
            yield _of_station_service(rng, asked.client, midnight, finished)
        else:
            yield _entry(rng, asked, midnight, finished)


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Write a log, one JSON object a line, compressed as the suffix of its name says."""
    compress = _COMPRESSORS.get(path.suffix, bytes)
    lines = (f"{json.dumps(entry)}\n".encode() for entry in entries)
    processors = os.cpu_count() or 1
    with path.open("wb") as log, ThreadPoolExecutor(processors) as pool:
        while streams := [part for _ in range(processors) if (part := b"".join(islice(lines, _LINES_PER_STREAM)))]:
            log.writelines(pool.map(compress, streams))


def _world(rng: random.Random, day: datetime.date, stations: int, clients: int) -> _World:
    made = [_station(rng, number, day) for number in range(stations)]
    regular = [_regular(rng, number) for number in range(clients)]
    return _World(rng, day, made, _zipf(stations, 0.9), regular, _zipf(clients, 1.0))


def _zipf(number: int, exponent: float) -> list[float]:
    return list(accumulate(1 / rank**exponent for rank in range(1, number + 1)))


def _station(rng: random.Random, number: int, day: datetime.date) -> _Station:
    first, last = datetime.date(1995, 1, 1), day - datetime.timedelta(days=1)
    if rng.random() < 0.3:
        network = rng.choice(list(_TEMPORARY))
        begun = [(start, end) for start, end in _TEMPORARY[network] if start < last.isoformat()]
        start, end = rng.choice(begun or _TEMPORARY[network])
        first = datetime.date.fromisoformat(start)
        last = min(last, datetime.date.fromisoformat(end)) if end is not None else last
        last = max(first, last)
    else:
        network = rng.choice(_PERMANENT)
    station = "".join(rng.choices("ABCDEGHIKLMNOPRSTUVW", k=3)) + str(number)
    location = rng.choice(["", "", "", "00", "10"])
    restricted = network in _TEMPORARY and rng.random() < 0.3
    streams = [
        _Stream(network, station, location, band + component, hourly, restricted)
        for band, hourly in (("BH", 98304), ("HH", 290816))
        for component in "NEZ"
    ]
    return _Station(streams, first, last)


def _regular(rng: random.Random, number: int) -> _Client:
    habit = rng.choices(["walk", "fetch", "poll", "days", "look"], [62, 8, 9, 9, 12])[0]
    agents = {"walk": _OBSPY, "fetch": _FETCH, "poll": _OBSPY, "days": _CURL, "look": _BROWSER}[habit]
    email = f"user{number}@example.org" if rng.random() < 0.05 else None
    return _Client(rng.choice(agents), rng.getrandbits(32), _where(rng), email, habit)


def _where(rng: random.Random) -> Entry:
    luck = rng.random()
    if luck < 0.02:
        return {}
    if luck < 0.03:
        return {"country": None}
    return {"country": _COUNTRIES[min(int(rng.expovariate(0.25)), len(_COUNTRIES) - 1)]}


def _session(world: _World) -> Iterator[_Asked]:
    """Yield the requests that a client makes in a row."""
    rng = world.rng
    if rng.random() < 0.4:
        passer_by = _Client(rng.choice(_MEASURE), rng.getrandbits(32), _where(rng), None, "measure")
        yield _Asked(passer_by, world.stations[0].streams[2:3], _window(rng, world.stations[0], 1))
        return
    client = rng.choices(world.clients, cum_weights=world.client_weights)[0]
    match client.habit:
        case "walk":
            yield from _walk(world, client)
        case "fetch":
            chosen = rng.choices(world.stations, cum_weights=world.station_weights, k=rng.randint(6, 25))
            held = [station for station in chosen if station.first == chosen[0].first] or chosen[:1]
            streams = [stream for station in held for stream in station.streams[3:]]
            for _ in range(rng.randint(1, 20)):
                yield _Asked(client, streams, _window(rng, held[0], rng.choice([1, 2, 24])))
        case "poll":
            station = rng.choices(world.stations, cum_weights=world.station_weights)[0]
            for _ in range(rng.randint(5, 60)):
                yield _Asked(client, [], _window(rng, station, 1))
        case "days":
            station = rng.choices(world.stations, cum_weights=world.station_weights)[0]
            for _ in range(rng.randint(5, 40)):
                yield _Asked(client, station.streams, _window(rng, station, 24))
        case _:
            station = rng.choices(world.stations, cum_weights=world.station_weights)[0]
            yield _Asked(client, station.streams[:1], _window(rng, station, 1))


def _walk(world: _World, client: _Client) -> Iterator[_Asked]:
    """Yield requests for one window of time at station after station, as for the study of an earthquake."""
    rng = world.rng
    anchor = rng.choices(world.stations, cum_weights=world.station_weights)[0]
    window = _window(rng, anchor, rng.choice([0.06, 0.5, 1, 2]))
    # Some ask for the same hours everywhere, some for when the waves arrive.
    arrivals = rng.random() < 0.6
    both_bands = rng.random() < 0.75
    at = rng.randrange(len(world.stations))
    for station in islice(cycle(world.stations), at, at + rng.randint(10, 120)):
        if station.first <= window.start.date() <= station.last:
            later = datetime.timedelta(microseconds=rng.randrange(600_000_000) if arrivals else 0)
            streams = station.streams if both_bands else station.streams[:3]
            yield _Asked(client, streams, _Window(window.start + later, window.hours))


def _window(rng: random.Random, station: _Station, hours: float) -> _Window:
    day = station.first + datetime.timedelta(days=rng.randrange((station.last - station.first).days + 1))
    start = datetime.datetime.combine(day, datetime.time())
    if hours < 24:
        start += datetime.timedelta(microseconds=rng.randrange(80_000_000_000))
    return _Window(start, hours)


def _seiscomp(time: datetime.datetime) -> str:
    """Write a time as SeisComP does: at least four digits of fraction, no zeros behind them."""
    fraction = f"{time.microsecond:06d}".rstrip("0")
    return f"{time:%Y-%m-%dT%H:%M:%S}.{fraction:0<4}Z"


def _entry(rng: random.Random, asked: _Asked, midnight: datetime.datetime, finished: datetime.datetime) -> Entry:
    status, traces = _answer(rng, asked)
    total = sum(trace["bytes"] for trace in traces)
    # A server takes some milliseconds, and as long as the transfer takes.
    spent = datetime.timedelta(microseconds=rng.randrange(2_000, 400_000) + total // 20)
    entry: Entry = {
        "clientID": asked.client.agent,
        "finished": f"{finished.isoformat()}Z",
        "userLocation": asked.client.location,
        "created": f"{max(midnight, finished - spent).isoformat()}Z",
        "bytes": total,
        "service": SERVICE,
        "userEmail": asked.client.email,
    }
    if traces:
        entry["trace"] = traces
    entry["status"] = status
    entry["userID"] = asked.client.user
    return entry


def _of_station_service(
    rng: random.Random, client: _Client, midnight: datetime.datetime, finished: datetime.datetime
) -> Entry:
    spent = datetime.timedelta(microseconds=rng.randrange(2_000, 400_000))
    return {
        "clientID": client.agent,
        "finished": f"{finished.isoformat()}Z",
        "userLocation": client.location,
        "created": f"{max(midnight, finished - spent).isoformat()}Z",
        "bytes": rng.randrange(500, 50_000),
        "service": "fdsnws-station",
        "userEmail": client.email,
        "status": "OK",
        "userID": client.user,
    }


def _answer(rng: random.Random, asked: _Asked) -> tuple[str, list[Entry]]:
    """Return the status of a request and its traces; one that was cut off has delivered some."""
    luck = rng.random()
    start = _seiscomp(asked.window.start)
    end = _seiscomp(asked.window.start + datetime.timedelta(hours=asked.window.hours))
    if not asked.streams or luck < 0.01:
        return ("NODATA" if luck > 0.0005 else "ERROR"), []
    if luck < 0.10:
        return "NODATA", [_trace(stream, start, end, 0, "NODATA") for stream in asked.streams]
    if luck < 0.102:
        # As in real logs, the status of a request is decided before its last stream has failed.
        return "OK", [_trace(stream, start, end, 0, "ERROR") for stream in asked.streams]
    traces = [_delivered(rng, stream, asked, start, end) for stream in asked.streams]
    if all(trace["status"] == "DENIED" for trace in traces):
        return "DENIED", traces
    if all(trace["status"] != "OK" for trace in traces):
        return "NODATA", traces
    return ("ERROR" if luck > 0.985 else "OK"), traces


def _delivered(rng: random.Random, stream: _Stream, asked: _Asked, start: str, end: str) -> Entry:
    luck = rng.random()
    if stream.restricted and asked.client.email is None:
        return _trace(stream, start, end, 0, "DENIED")
    if luck < 0.03:
        return _trace(stream, start, end, 0, "NODATA")
    # Records are of 512 bytes; the noisier, the less they are compressed.
    records = 1 + int(stream.hourly * asked.window.hours * (0.8 + 0.4 * rng.random())) // 512
    return _trace(stream, start, end, records * 512, "OK")


def _trace(stream: _Stream, start: str, end: str, size: int, status: str) -> Entry:
    return {
        "cha": stream.channel,
        "sta": stream.station,
        "start": start,
        "net": stream.network,
        "restricted": stream.restricted,
        "loc": stream.location,
        "bytes": size,
        "status": status,
        "end": end,
    }


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--requests", "number", type=click.IntRange(0), default=20_000, show_default=True)
@click.option("--seed", default=1, show_default=True, help="The same seed produces the same log.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), default="2020-11-02", show_default=True)
@click.option("--days", type=click.IntRange(1), default=1, show_default=True, help="Each has so many requests.")
@click.option("--stations", type=click.IntRange(1), default=400, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=1000, show_default=True, help="Regular ones.")
@click.option("--other-services", is_flag=True, help="Put requests to fdsnws-station in as well.")
@click.option(
    "--registry",
    "registry_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the networks of the log to this file, in the format of the FDSN networks/1 service.",
)
def main(
    output: Path,
    number: int,
    seed: int,
    day: datetime.datetime,
    days: int,
    stations: int,
    clients: int,
    other_services: bool,
    registry_file: Path | None,
) -> None:
    """Write a request log, compressed as the suffix of OUTPUT says: .bz2, .gz, .xz, .zst or none of these."""
    # Each day has other clients, some of whom come only once.
    entries = (
        requests(
            seed + after,
            day.date() + datetime.timedelta(days=after),
            number,
            stations=stations,
            clients=clients,
            other_services=other_services,
        )
        for after in range(days)
    )
    write(output, chain.from_iterable(entries))
    if registry_file is not None:
        registry_file.write_text(json.dumps(registry(), indent=1))


if __name__ == "__main__":
    main()
