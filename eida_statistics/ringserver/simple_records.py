"""Records of transfer logs in text that are whole and have nothing odd about them. Almost all are such.

`transfer_log` reads the same records, in twice the time. This module avoids calls and objects.
"""

import re
from collections.abc import Generator

import msgspec

from eida_statistics.payload import MAX_COUNT
from eida_statistics.ringserver.events import RX, TX, TransferRecord
from eida_statistics.ringserver.fields import parse_time
from eida_statistics.ringserver.transfer_log import HEAD, MAX_ID_BYTES, TAIL

# The client id has no line break.
_RECORD = re.compile(
    HEAD.decode()
    + r"([^\n]{0,255}?)"
    + TAIL.decode()
    + r"((?:[!-~]++ [0-9]++ [0-9]++\n)*)END CLIENT \1 \[\2\] total \7 bytes: ([0-9]{1,20})\n",
    re.ASCII,
)
_read_numbers = msgspec.json.Decoder(list[list[int]]).decode


def read_simple(text: str, start: int, line: int) -> Generator[TransferRecord, None, tuple[int, int]]:
    """Yield the records from a position on, up to one that is not simple.

    Args:
        text: the log, decoded as Latin-1. So positions are those of bytes, and no field needs decoding.
        start: the position.
        line: the number of its line.

    Returns:
        the position behind the records, and the number of its line.
    """
    match = _RECORD.match(text, start)
    while match is not None:
        following = None
        limit = match.start(4) + MAX_ID_BYTES
        if match.end() <= limit:
            # This END line may be part of the client id. It is not if a record follows that is right by itself and
            # ends further away.
            following = _RECORD.match(text, match.end())
            if following is None or following.end() <= limit or not _has_right_total(following):
                break
        record = _make_record(match, line)
        if record is None:
            break
        yield record
        start = match.end()
        line += len(record.ids) + 2
        match = following or _RECORD.match(text, start)
    return start, line


def _make_record(match: re.Match[str], line: int) -> TransferRecord | None:
    """Return a record, or None if something about it is odd."""
    _, address, protocol, client_id, written, connected, direction, streams, total = match.groups()
    content = match.string[match.start() : match.end(8)]
    if not content.isascii() or "\r" in content or ") @ " in client_id or "CLIENT " in client_id:
        return None
    tokens = streams.split()
    try:
        # JSON is the fastest way to read many numbers.
        sizes, packets = _read_numbers(f"[[{','.join(tokens[1::3])}],[{','.join(tokens[2::3])}]]")
        times = parse_time(written), parse_time(connected)
    except (ValueError, msgspec.DecodeError):
        return None
    size = sum(sizes)
    if size != int(total) or size > MAX_COUNT or sum(packets) > MAX_COUNT:
        return None
    return TransferRecord(
        TX if direction == TX else RX,
        address,
        protocol,
        client_id,
        *times,
        None,
        tokens[0::3],
        sizes,
        packets,
        content.encode(),
        line,
        match.end() - match.start(),
    )


def _has_right_total(match: re.Match[str]) -> bool:
    try:
        return sum(map(int, match[8].split()[1::3])) == int(match[9])
    except ValueError:
        # Python reads no number of more than 4300 digits.
        return False
