"""Transfer logs, written as ringserver writes them."""

import json
from pathlib import Path
from typing import NamedTuple

from support.paths import ROOT

REAL_LOGS = ROOT.parent / "shared/data/ringserver"
REAL_TEXT = REAL_LOGS / "text-4.5.3"
REAL_JSON = REAL_LOGS / "jsonl-4.5.3"

WRITTEN = "2026-11-22T02:04:19Z"
CONNECTED = "2026-11-22T02:03:11Z"


class Stream(NamedTuple):
    """A stream of a record."""

    id: str = "FDSN:FR_SURF_00_H_H_Z/MSEED"
    bytes: int = 1024
    packets: int = 2


class Log(NamedTuple):
    """A record of a transfer log. `id` is the client id."""

    id: bytes = b"slinktool/4.2"
    streams: tuple[Stream, ...] = (Stream(),)
    host: str = "client.example.org"
    address: str = "192.0.2.17"
    protocol: str = "SeedLink"
    written: str = WRITTEN
    connected: str = CONNECTED
    direction: str = "TX"

    @property
    def total(self) -> int:
        """The bytes of all streams."""
        return sum(stream.bytes for stream in self.streams)

    def head(self) -> bytes:
        """Return the beginning of the START line, up to the client id."""
        return f"START CLIENT {self.host} [{self.address}] ({self.protocol}|".encode()

    def tail(self) -> bytes:
        """Return the rest of the START line."""
        return f") @ {self.written} (connected {self.connected}) {self.direction}\n".encode()

    def lines(self) -> bytes:
        """Return the stream lines."""
        return "".join(f"{stream.id} {stream.bytes} {stream.packets}\n" for stream in self.streams).encode()

    def end(self, total: int | None = None) -> bytes:
        """Return the END line, with this total or the right one."""
        total = self.total if total is None else total
        return f"END CLIENT {self.host} [{self.address}] total {self.direction} bytes: {total}\n".encode()

    def text(self) -> bytes:
        """Return the record in the text format."""
        return self.head() + self.id + self.tail() + self.lines() + self.end()

    def json(self, **changes: object) -> bytes:
        """Return the record in JSON Lines."""
        client = {"ip": self.address, "server_port": 18000, "hostname": self.host, "user_agent": self.id.decode()}
        streams = [{"stream_id": one.id, "bytes": one.bytes, "packets": one.packets} for one in self.streams]
        fields = {
            "log_time": self.written,
            "log_start_time": self.connected,
            "connect_time": self.connected,
            "client": client,
            "transfer_protocol": {"name": self.protocol, "version": "4.0"},
            "transfer_direction": self.direction,
            "service": {"name": "ringserver", "version": "4.5.3"},
            "streams": streams,
            "transfer_bytes": self.total,
        }
        return json.dumps({**fields, **changes}, separators=(",", ":")).encode() + b"\n"


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their names, in their order."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
