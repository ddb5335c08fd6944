"""Access logs, written as ringserver writes them."""

import json
from pathlib import Path
from typing import NamedTuple

from support.transfer_logs import REAL_LOGS

REAL_ACCESS = REAL_LOGS / "access-4.5.3"
REAL_CONNECTIONS = REAL_LOGS / "http-4.5.3" / "connections.json"

CONNECTED = "2026-11-22T02:03:11Z"
CLOSED = "2026-11-22T02:04:19Z"


class Line(NamedTuple):
    """A line of an access log. `protocol` is None where ringserver does not know it yet."""

    event: str = "connect"
    time: str = CONNECTED
    connected: str = CONNECTED
    address: str = "192.0.2.17"
    port: int = 18000
    protocol: str | None = None

    def text(self) -> bytes:
        """Return the line."""
        client = {"ip": self.address, "server_port": self.port, "hostname": "client.example.org"}
        fields = {"log_time": self.time, "connect_time": self.connected, "client": client}
        protocol = {} if self.protocol is None else {"protocol": {"name": self.protocol, "version": "4.0"}}
        client["user_agent"] = 'Jane "{\\"log_time\\":" Doe'
        service = {"name": "ringserver", "version": "4.5.3"}
        fields |= protocol | {"event": self.event, "service": service}
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


CONNECT = Line()
DISCONNECT = Line("disconnect", CLOSED, protocol="SeedLink")
COMMAND = Line("command", protocol="SeedLink")


def write_log(folder: Path, *lines: Line, name: str = "accesslog-20261122T0203-20261122T0204.jsonl") -> Path:
    """Write an access log."""
    path = folder / name
    path.write_bytes(b"".join(line.text() for line in lines))
    return path
