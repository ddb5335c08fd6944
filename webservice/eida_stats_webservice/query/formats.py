"""Answers as CSV, JSON, text as FDSN services give it, or Parquet: written row by row."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import msgspec

from eida_statistics import hll
from eida_stats_webservice.errors import ParquetMissing
from eida_stats_webservice.query.model import Form, Statistic

ANSWER_VERSION = "1.0.0"
_KEYS = ("date", "node", "network", "station", "location", "channel", "country")
_ROWS_AT_ONCE = 2000
_INSTALL_PARQUET = (
    "Use format=csv, json or text. Its administrator can add Parquet:"
    " pip install 'eida-statistics[webservice,parquet]'"
)

Value = str | int | None


class Format(NamedTuple):
    """How answers are written."""

    content_type: str
    write: Callable[[Iterable[Statistic], tuple[str, ...], str], Iterator[bytes]]
    """Takes rows, the names of the columns, and the parameters of the request."""


def columns_of(form: Form) -> tuple[str, ...]:
    """Name the columns of an answer."""
    return (
        *_KEYS,
        *("bytes", "nb_reqs", "nb_successful_reqs"),
        *(["nb_unsuccessful_reqs"] if form.unsuccessful else []),
        "clients",
        *(["hll_clients"] if form.hllvalues else []),
    )


def _csv(rows: Iterable[Statistic], columns: tuple[str, ...], asked: str) -> Iterator[bytes]:
    """Write as the deployed service does: two lines of comment, then a header and the rows."""
    comment = f"# version: {ANSWER_VERSION}\n# request_parameters: {asked}\n".encode()
    for chunk in _plain_csv(rows, columns, asked):
        yield comment + chunk
        comment = b""


def _plain_csv(rows: Iterable[Statistic], columns: tuple[str, ...], _asked: str) -> Iterator[bytes]:
    """Write a header and the rows, as programs read it without an option."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for values in _values(rows, columns):
        writer.writerows(values)
        yield _taken(text)
    yield _taken(text)


def _json(rows: Iterable[Statistic], columns: tuple[str, ...], asked: str) -> Iterator[bytes]:
    """Write as the deployed service does: one object, its rows in results."""
    head = msgspec.json.encode({"version": ANSWER_VERSION, "request_parameters": asked, "results": []})
    written = head.removesuffix(b"]}")
    for values in _values(rows, columns):
        objects = msgspec.json.encode([dict(zip(columns, row, strict=True)) for row in values])
        yield written + objects[1:-1]
        written = b","
    # Without any row, the head is still to be written.
    yield (written if written != b"," else b"") + b"]}\n"


def _text(rows: Iterable[Statistic], columns: tuple[str, ...], _asked: str) -> Iterator[bytes]:
    """Write as FDSN services do: a header that begins with #, and | between the values."""
    written = f"#{'|'.join(columns)}\n"
    for values in _values(rows, columns):
        lines = ("|".join("" if value is None else str(value).replace("|", " ") for value in row) for row in values)
        yield (written + "\n".join(lines) + "\n").encode()
        written = ""
    yield written.encode()


def _parquet(rows: Iterable[Statistic], columns: tuple[str, ...], asked: str) -> Iterator[bytes]:
    """Write a table with the version and the parameters in its metadata, a group of rows at a time."""
    # The first import takes a quarter of a second and 40 MB, so only requests for Parquet import it.
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ParquetMissing(hint=_INSTALL_PARQUET) from error

    texts = {*_KEYS, "hll_clients"}
    schema = pa.schema(
        [(column, pa.string() if column in texts else pa.int64()) for column in columns],
        metadata={"version": ANSWER_VERSION, "request_parameters": asked},
    )
    buffer = _Drained()
    with parquet.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for values in _values(rows, columns):
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(zip(*values, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield buffer.taken()
    yield buffer.taken()


_FORMATS = {
    "csv": Format("text/csv; charset=utf-8", _csv),
    "json": Format("application/json", _json),
    "text": Format("text/plain; charset=utf-8", _text),
    "parquet": Format("application/vnd.apache.parquet", _parquet),
}
_PLAIN_CSV = Format("text/csv; charset=utf-8", _plain_csv)


def format_of(form: Form) -> Format:
    """Return how an answer is written."""
    return _PLAIN_CSV if form.format == "csv" and form.plain_header else _FORMATS[form.format]


class _Drained(io.RawIOBase):
    """A file that is taken away as it is written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, piece: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override] # all that comes
        self._pieces.append(bytes(piece))
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        """Return what was written since it was last asked for."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _values(rows: Iterable[Statistic], columns: tuple[str, ...]) -> Iterator[list[list[Value]]]:
    """Yield the values of some rows at a time."""
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        yield [[_value(row, column) for column in columns] for row in some]


def _value(row: Statistic, column: str) -> Value:
    value = getattr(row, column)
    return hll.to_hex(value) if isinstance(value, bytes) else value


def _taken(text: io.StringIO) -> bytes:
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written
