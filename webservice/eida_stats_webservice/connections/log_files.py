"""Files of the log: JSON Lines of records, each with its node and the time at which it was received."""

import datetime
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from eida_statistics.compression import read_chunks
from eida_statistics.connections import decode_records
from eida_statistics.errors import InvalidRecords
from eida_statistics.zstandard import zstd
from eida_stats_webservice.connections.log import LogRecord

_ENCODER = msgspec.json.Encoder()
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)
# No record is longer, unless it is a snapshot of more sessions than one request may have.
_MAX_LINE = 16 << 20


class _Envelope(msgspec.Struct):
    """The fields that the log adds to a record. The log of a single node does not name it."""

    node: str | None = None
    created: datetime.datetime = _NEVER


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def encode_line(line: LogRecord) -> bytes:
    """Return a record as a line of JSON."""
    fields = msgspec.to_builtins(line.record, builtin_types=(datetime.datetime,))
    return _ENCODER.encode({"node": line.node, "created": line.created, **fields}) + b"\n"


def write_lines(path: Path, lines: Iterable[LogRecord]) -> int:
    """Write lines to a new file, compressed with zstd, and wait for the disk. Return their number."""
    number = 0
    with path.open("wb") as raw:
        with zstd.open(raw, "wb") as packed:
            for line in lines:
                packed.write(encode_line(line))
                number += 1
        raw.flush()
        os.fsync(raw.fileno())
    return number


def read_lines(path: Path, node: str | None = None) -> Iterator[LogRecord]:
    """Yield the records of a file, plain or compressed with bzip2, gzip, xz or zstd.

    Args:
        path: the file.
        node: the node of lines that name none.

    Raises:
        InvalidRecords: if a line is no record, or names no node.
        UnreadableLog: if the file cannot be unpacked.
    """
    for number, line in enumerate(split_lines(path), 1):
        try:
            (record,) = decode_records(line)
            envelope = _ENVELOPE.decode(line)
        except (InvalidRecords, msgspec.DecodeError, UnicodeDecodeError) as error:
            reason = error.subject.removeprefix("line 1: ") if isinstance(error, InvalidRecords) else "no record"
            raise InvalidRecords(f"{path}, line {number}: {reason}") from error
        name = envelope.node or node
        if name is None:
            raise InvalidRecords(f"{path}, line {number}: it names no node", hint="Name it: --node NAME")
        yield LogRecord(name, envelope.created, record)


def split_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that are not empty."""
    rest = b""
    with path.open("rb") as raw:
        for chunk in read_chunks(raw, str(path)):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line.strip())
            if len(rest) > _MAX_LINE:
                raise InvalidRecords(f"{path}: a line has more than {_MAX_LINE >> 20} MiB")
    if rest.strip():
        yield rest
