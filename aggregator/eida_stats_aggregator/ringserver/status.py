"""The status of a ringserver over HTTP: the time of its start, and its connections.

Fields: `src/infojson.c` of ringserver 4.5.3. Everybody may read `/id/json`; `/connections/json` needs an address
that the ringserver trusts.
"""

import datetime
from typing import NamedTuple

import msgspec
import requests

from eida_statistics import __version__
from eida_statistics.connections import ListedSession
from eida_statistics.ringserver.access_log import clean_protocol, parse_moment
from eida_statistics.ringserver.fields import BadField
from eida_statistics.ringserver.identity import ClientKey
from eida_stats_aggregator.delivery.connection_errors import describe_cause

# Logs are not followed in the meantime.
_TIMEOUT_SECONDS = (2, 5)
_TLS_PROTOCOL = "HTTPS"


class Status(NamedTuple):
    """The answers of a ringserver.

    Attributes:
        time: just before the request for its connections.
        server_start: None if it was not received.
        sessions: None if they were not received.
        failures: the reasons why one of them was not received.
    """

    time: datetime.datetime
    server_start: datetime.datetime | None
    sessions: list[ListedSession] | None
    failures: list[str]

    @property
    def is_reachable(self) -> bool:
        """Whether the ringserver has answered."""
        return self.server_start is not None or self.sessions is not None


class _Identity(msgspec.Struct):
    server_start: str


class _Client(msgspec.Struct):
    ip_address: str
    server_port: str
    connect_time: str
    type: str = "Unknown"


class _List(msgspec.Struct):
    client: list[_Client] = []


class _Connections(msgspec.Struct):
    connections: _List


class _NotReceivedError(Exception):
    """There is no such answer; the message is the reason."""


class _SilentError(_NotReceivedError):
    """There is no answer at all."""


def read_status(url: str, key: ClientKey) -> Status:
    """Request the start of a ringserver and its connections."""
    url = url.rstrip("/")
    server_start, sessions, failures = None, None, []
    try:
        server_start = _parse_start(_get(f"{url}/id/json"))
    except _NotReceivedError as failure:
        failures.append(str(failure))
        if isinstance(failure, _SilentError):
            return Status(datetime.datetime.now(datetime.UTC), None, None, failures)
    # The list may have sessions that began while it was made, but none that ended before this time.
    time = datetime.datetime.now(datetime.UTC)
    try:
        sessions = parse_sessions(_get(f"{url}/connections/json"), key)
    except _NotReceivedError as failure:
        failures.append(str(failure))
    return Status(time, server_start, sessions, failures)


def parse_sessions(answer: bytes, key: ClientKey) -> list[ListedSession]:
    """Return the sessions in a list of connections. `client_count` is ignored: it is too high for a second.

    Raises:
        _NotReceivedError: if it is no such list.
    """
    found: dict[str, ListedSession] = {}
    try:
        for client in msgspec.json.decode(answer, type=_Connections).connections.client:
            session = _make_session(client, key)
            same = found.setdefault(session.session, session)
            if same is not session:
                same.count += 1
                same.protocol = same.protocol or session.protocol
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise _NotReceivedError("/connections/json is not a list of connections") from error
    return list(found.values())


def _make_session(client: _Client, key: ClientKey) -> ListedSession:
    port = int(client.server_port)
    connected = parse_moment(client.connect_time)
    # Such as DataLink:WebSocket:TLS.
    name = client.type.partition(":")[0]
    protocol = clean_protocol("HTTP" if name == _TLS_PROTOCOL else name)
    session = key.hash_session(client.ip_address, port, connected.seconds)
    return ListedSession(session, port, connected.time, protocol, key.hash_address(client.ip_address))


def _parse_start(answer: bytes) -> datetime.datetime:
    try:
        return parse_moment(msgspec.json.decode(answer, type=_Identity).server_start).time
    except (msgspec.DecodeError, UnicodeDecodeError, BadField) as error:
        raise _NotReceivedError("/id/json has no server_start") from error


def _get(url: str) -> bytes:
    with requests.Session() as session:
        # A proxy is for the service, not for the ringserver beside.
        session.trust_env = False
        # An open connection would count as a client.
        session.headers.update({"User-Agent": f"eida-statistics/{__version__}", "Connection": "close"})
        try:
            answer = session.get(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise _SilentError(f"{url}: {describe_cause(error, url)[0]}") from error
    if answer.status_code != requests.codes.ok:
        raise _NotReceivedError(f"{url}: {answer.status_code} {answer.reason}")
    return answer.content
