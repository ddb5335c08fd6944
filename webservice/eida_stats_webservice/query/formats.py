"""Write answers as CSV, JSON, Parquet or the text format of FDSN services, some rows at a time."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from eida_statistics import hll
from eida_stats_webservice.errors import ParquetMissing
from eida_stats_webservice.query.cube import Cube
from eida_stats_webservice.query.model import OutputOptions, Statistic

ANSWER_VERSION = "1.0.0"
_ROWS_AT_ONCE = 2000
_INSTALL_PARQUET = (
    "Use format=csv, json or text. The administrator can add Parquet:"
    " pip install '.[webservice,parquet]' in the source."
)

Row = Sequence[str | int | float | None]


class Column(NamedTuple):
    """A column of answers, with text, fractions or integers."""

    name: str
    is_text: bool = False
    is_fraction: bool = False


class Format(NamedTuple):
    """A format of answers."""

    content_type: str
    write: Callable[[Iterable[Row], tuple[Column, ...], str], Iterator[bytes]]
    """Writes rows. It takes their values, the columns, and the parameters of the request."""


def list_columns(cube: Cube, options: OutputOptions) -> tuple[Column, ...]:
    """Return the columns of an answer."""
    return (
        *(Column(name, is_text=True) for name in cube.keys),
        *(Column(cube.measures[number].name) for number in _list_measures(cube, options)),
        Column("clients"),
        *([Column("hll_clients", is_text=True)] if options.hllvalues else []),
    )


def list_values(rows: Iterable[Statistic], cube: Cube, options: OutputOptions) -> Iterator[Row]:
    """Yield the values of rows in the order of the columns."""
    measures = _list_measures(cube, options)
    for row in rows:
        values = [*row.keys, *(row.measures[number] for number in measures), row.clients]
        if options.hllvalues:
            values.append(None if row.hll_clients is None else hll.to_hex(row.hll_clients))
        yield values


def _list_measures(cube: Cube, options: OutputOptions) -> list[int]:
    """Return the numbers of the measures in an answer."""
    return [
        number
        for number, measure in enumerate(cube.measures)
        if measure.parameter is None or measure.parameter in options.measures
    ]


def _write_csv(rows: Iterable[Row], columns: tuple[Column, ...], parameters: str) -> Iterator[bytes]:
    """Write as the deployed service does: two lines of comment, then a header and the rows."""
    comment = f"# version: {ANSWER_VERSION}\n# request_parameters: {parameters}\n".encode()
    for chunk in _write_plain_csv(rows, columns, parameters):
        yield comment + chunk
        comment = b""


def _write_plain_csv(rows: Iterable[Row], columns: tuple[Column, ...], _parameters: str) -> Iterator[bytes]:
    """Write a header and the rows, as programs read CSV by default."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    for values in _batch(rows):
        writer.writerows(values)
        yield _drain(text)
    yield _drain(text)


def _write_json(rows: Iterable[Row], columns: tuple[Column, ...], parameters: str) -> Iterator[bytes]:
    """Write as the deployed service does: one object, its rows in results."""
    head = msgspec.json.encode({"version": ANSWER_VERSION, "request_parameters": parameters, "results": []})
    written = head.removesuffix(b"]}")
    names = [column.name for column in columns]
    for values in _batch(rows):
        objects = msgspec.json.encode([dict(zip(names, row, strict=True)) for row in values])
        yield written + objects[1:-1]
        written = b","
    # Without any row, the head is not written yet.
    yield (written if written != b"," else b"") + b"]}\n"


def _write_text(rows: Iterable[Row], columns: tuple[Column, ...], _parameters: str) -> Iterator[bytes]:
    """Write as FDSN services do: a header that begins with #, and | between the values."""
    written = f"#{'|'.join(column.name for column in columns)}\n"
    for values in _batch(rows):
        lines = ("|".join("" if value is None else str(value).replace("|", " ") for value in row) for row in values)
        yield (written + "\n".join(lines) + "\n").encode()
        written = ""
    yield written.encode()


def _write_parquet(rows: Iterable[Row], columns: tuple[Column, ...], parameters: str) -> Iterator[bytes]:
    """Write a table with the version and the parameters in its metadata, a group of rows at a time."""
    # The first import takes 40 MB, and two seconds from a cold disk, so only requests for Parquet import it.
    try:
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ParquetMissing(hint=_INSTALL_PARQUET) from error

    schema = pa.schema(
        [
            (column.name, pa.string() if column.is_text else pa.float64() if column.is_fraction else pa.int64())
            for column in columns
        ],
        metadata={"version": ANSWER_VERSION, "request_parameters": parameters},
    )
    buffer = _DrainedFile()
    with parquet.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for values in _batch(rows):
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(zip(*values, strict=True), schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            yield buffer.drain()
    yield buffer.drain()


_FORMATS = {
    "csv": Format("text/csv; charset=utf-8", _write_csv),
    "json": Format("application/json", _write_json),
    "text": Format("text/plain; charset=utf-8", _write_text),
    "parquet": Format("application/vnd.apache.parquet", _write_parquet),
}
_PLAIN_CSV = Format("text/csv; charset=utf-8", _write_plain_csv)


def choose_format(options: OutputOptions) -> Format:
    """Return the format of an answer."""
    return _PLAIN_CSV if options.format == "csv" and options.plain_header else _FORMATS[options.format]


class _DrainedFile(io.RawIOBase):
    """A file whose content is taken away while it is written."""

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

    def drain(self) -> bytes:
        """Return the bytes that were written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _batch(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield some rows at a time."""
    remaining = iter(rows)
    while batch := list(islice(remaining, _ROWS_AT_ONCE)):
        yield batch


def _drain(text: io.StringIO) -> bytes:
    written = text.getvalue().encode()
    text.seek(0)
    text.truncate()
    return written
