"""Receive raw logs over HTTP: the content decides what a body is, never its headers."""

import codecs
import datetime
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from flask import Request

from eida_statistics.compression import read_chunks
from eida_statistics.payload import SOURCE_RULE, is_source
from eida_statistics.ringserver import json_lines
from eida_stats_webservice.errors import BadParameter, TooLarge
from eida_stats_webservice.registry.models import Arrival, Node
from eida_stats_webservice.ringserver.raw_logs.models import Days, RawLog, RawReceipt, Replacement
from eida_stats_webservice.ringserver.raw_logs.settings import MakeSettings
from eida_stats_webservice.ringserver.raw_logs.store import RawLogStore
from eida_stats_webservice.web.parameters import quote_parameter, read_parameters, require_parameters

TITLE = "the log"
PARAMETERS = ("server", "since", "until")


class RawLogParameters(NamedTuple):
    """The parameters of a request.

    Attributes:
        server: the source of the log.
        replacement: the days that it replaces, None if it only adds to them.
    """

    server: str
    replacement: Replacement | None


class _Kind(msgspec.Struct):
    kind: str | None = None


class _BodyReader(io.RawIOBase):
    """Reads a body, which may be large, in place. `io.BytesIO` would copy it."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._rest = memoryview(body)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override] # never more types
        piece = self._rest[: len(buffer)]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)


class RawLogReceiver:
    """Stores the bodies of requests.

    Args:
        store: where they go.
        make_settings: returns how they are read.
        max_bytes: the size of the largest body, before and after it is unpacked.
    """

    def __init__(self, store: RawLogStore, make_settings: MakeSettings, max_bytes: int) -> None:
        self._store = store
        self._make_settings = make_settings
        self._max_bytes = max_bytes

    def receive(
        self, node: Node, body: bytes | bytearray, parameters: RawLogParameters, arrival: Arrival | None
    ) -> RawReceipt:
        """Store a log, plain or packed.

        Raises:
            TooLarge: if it unpacks to more than the limit.
            ForeignLog: if it is another kind of file.
            UnreadableLog: if it cannot be unpacked.
        """
        raw_log = RawLog(TITLE, parameters.server, None, self._unpack(body))
        return self._store.store(
            node, [raw_log], self._make_settings(), replacement=parameters.replacement, arrival=arrival
        )

    def find_payload(self, body: bytes | bytearray) -> bytearray | None:
        """Return the JSON of a payload, None for anything else. A payload is a JSON object with `kind`."""
        chunks = self._unpack(body)
        beginning = next(chunks, b"").removeprefix(codecs.BOM_UTF8).lstrip()
        first_line = beginning.partition(b"\n")[0]
        if not beginning.startswith(b"{") or json_lines.is_record(first_line):
            return None
        whole = bytearray(beginning)
        for chunk in chunks:
            whole += chunk
        try:
            return whole if msgspec.json.decode(whole, type=_Kind).kind is not None else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _unpack(self, body: bytes | bytearray) -> Iterator[bytes]:
        left = self._max_bytes
        for chunk in read_chunks(io.BufferedReader(_BodyReader(body)), TITLE):
            left -= len(chunk)
            if left < 0:
                raise TooLarge(f"more than {self._max_bytes:,} bytes when unpacked")
            yield chunk


def parse_parameters(request: Request) -> RawLogParameters:
    """Parse the parameters of a request. PUT replaces the days from `since` to `until`.

    Raises:
        BadParameter: if one is missing, unknown or bad.
    """
    mandatory = ("since", "until") if request.method == "PUT" else ()
    values = require_parameters(read_parameters(request), *mandatory, optional=("server",))
    server = values.get("server", "")
    if not is_source(server):
        raise BadParameter(quote_parameter("server", server), hint=f"Use {SOURCE_RULE}.")
    if not mandatory:
        return RawLogParameters(server, None)
    since, until = (_parse_day(name, values[name]) for name in mandatory)
    if since > until:
        raise BadParameter(quote_parameter("since", values["since"]), hint="It must not be after until.")
    return RawLogParameters(server, Replacement(Days(since, until)))


def _parse_day(name: str, value: str) -> datetime.date:
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value, re.ASCII):
            return datetime.date.fromisoformat(value)
    except ValueError:
        pass
    raise BadParameter(quote_parameter(name, value), hint="Use a UTC day, YYYY-MM-DD.")
