"""Read files with libmseed. The results are its own structures, which `libmseed.h` explains.

The objects of pymseed would take 4 µs for each record, so its binding to the functions of libmseed is used.
"""

import mmap
import os
from collections.abc import Iterator
from typing import Any

from pymseed.clib import clibmseed, ffi

# Larger files are read by libmseed itself.
_BUFFER_BYTES = 1 << 25
# A mapping begins with a page. Large buffers of `malloc`, such as that of libmseed, begin 16 bytes after one. Some
# processors of AMD take three times as long to copy to such a place from the page cache.
_BUFFER = mmap.mmap(-1, _BUFFER_BYTES, flags=mmap.MAP_PRIVATE)
_VIEW = memoryview(_BUFFER)
_START = ffi.from_buffer(_BUFFER)

_FLAGS = clibmseed.MSF_RECORDLIST | clibmseed.MSF_VALIDATECRC
_SPLIT_BY_VERSION = 1
_QUIET = 0


def make_traces() -> Any:
    """Return an empty list of traces: a pointer to a pointer to MS3TraceList. Its structures end with it."""
    return ffi.gc(ffi.new("MS3TraceList **"), _free)


def _free(traces: Any) -> None:
    clibmseed.mstl3_free(traces, 1)


def add_file(traces: Any, path: str, size: int) -> bool:
    """Add the records of a file, and return whether it begins with a record and has nothing else between records.

    Its last record may be cut off. The file is in a buffer that the next file overwrites: not for several threads.

    Args:
        traces: an empty list of traces. If the result is false, it has some of the records, or none.
        path: the path, with surrogates for bytes that are not UTF-8.
        size: the size of the file in bytes, found before.
    """
    if size > _BUFFER_BYTES:
        return _parse_file(traces, path, _FLAGS)
    try:
        length = _fill_buffer(path)
    except OSError:
        return False
    if length == _BUFFER_BYTES:  # the file may have grown
        return _parse_file(traces, path, _FLAGS)
    # libmseed knows of files that there is nothing after the last byte that it has read, but not of buffers.
    flags = _FLAGS | clibmseed.MSF_ATENDOFFILE
    found: int = clibmseed.mstl3_readbuffer(traces, _START, length, _SPLIT_BY_VERSION, flags, ffi.NULL, _QUIET)
    return found > 0


def _fill_buffer(path: str) -> int:
    """Read a file into the buffer, and return how many bytes there are."""
    length = 0
    # `open` takes 3 µs more.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while count := os.readv(descriptor, [_VIEW[length:]]):
            length += count
    finally:
        os.close(descriptor)
    return length


def add_damaged_file(traces: Any, path: str) -> bool:
    """Add the records of a file, without what is between them, and return whether libmseed came to its end."""
    return _parse_file(traces, path, _FLAGS | clibmseed.MSF_SKIPNOTDATA)


def _parse_file(traces: Any, path: str, flags: int) -> bool:
    name = ffi.new("char[]", os.fsencode(path))
    status = clibmseed.ms3_readtracelist(traces, name, ffi.NULL, _SPLIT_BY_VERSION, flags, _QUIET)
    return bool(status == clibmseed.MS_NOERROR)


def list_segments(traces: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each segment and its stream, as MS3TraceID and MS3TraceSeg. They are valid as long as `traces` is."""
    trace = traces[0].traces.next[0]
    while trace:
        segment = trace.first
        while segment:
            yield trace, segment
            segment = segment.next
        trace = trace.next[0]


def find_end(record: Any) -> int:
    """Return where a record, an MS3RecordPtr, ends in its file."""
    offset = record.bufferptr - _START if record.bufferptr else record.fileoffset
    return int(offset + record.msr.reclen)


def list_lengths(records: Any) -> Iterator[int]:
    """Yield the bytes of each record of an MS3RecordList."""
    record = records.first
    while record:
        yield record.msr.reclen
        record = record.next
