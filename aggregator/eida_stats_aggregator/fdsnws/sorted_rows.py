"""The rows of an aggregation, sorted by key."""

import datetime
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eida_statistics.payload import Row
from eida_stats_aggregator.fdsnws.sums import AggregateSums

_ROWS_AT_ONCE = 1 << 12

# The codes of a stream, whose network is extended.
Codes = tuple[str, str, str, str]
# A month and a country.
Group = tuple[datetime.date, str]
# An aggregate is the number of its group, and in so many bits that of its stream.
STREAM_BITS = 32
STREAM_MASK = (1 << STREAM_BITS) - 1


class SortedRows:
    """The rows of all aggregates in pieces, each of which is made by itself.

    Args:
        streams: the streams by their numbers.
        groups: the groups by their numbers.
        sums: the sums of aggregates, which must not change afterwards.
    """

    def __init__(self, streams: Sequence[Codes], groups: Sequence[Group], sums: AggregateSums) -> None:
        months = sorted({month for month, _ in groups})
        countries = sorted({country for _, country in groups})
        codes = sorted(streams)
        self._shape = len(months), len(codes), len(countries)
        aggregates = sums.list_aggregates()
        groups_of, streams_of = aggregates >> STREAM_BITS, aggregates & STREAM_MASK
        # To sort numbers, not keys, takes a tenth of the time.
        self._places = np.ravel_multi_index(
            (
                _find_places(months, [month for month, _ in groups])[groups_of],
                _find_places(codes, streams)[streams_of],
                _find_places(countries, [country for _, country in groups])[groups_of],
            ),
            self._shape,
        )
        self._order = np.argsort(self._places)
        self._months, self._countries = _to_objects(months), _to_objects(countries)
        self._codes = [_to_objects(column) for column in zip(*codes, strict=True)]
        sums.settle()
        self._sums = sums
        self._requests = sums.count_requests()

    def __len__(self) -> int:
        """Return the number of pieces."""
        return math.ceil(len(self._order) / _ROWS_AT_ONCE)

    def make_piece(self, number: int) -> list[Row]:
        """Return the rows of a piece; pieces have numbers from 0."""
        some = self._order[number * _ROWS_AT_ONCE : (number + 1) * _ROWS_AT_ONCE]
        months, streams, countries = np.unravel_index(self._places[some], self._shape)
        successful, unsuccessful = self._requests[:, some]
        return list(
            map(
                Row,
                self._months[months].tolist(),
                *(column[streams].tolist() for column in self._codes),
                self._countries[countries].tolist(),
                self._sums.list_bytes(some),
                (successful + unsuccessful).tolist(),
                successful.tolist(),
                unsuccessful.tolist(),
                self._sums.encode_clients(some),
            )
        )


def _to_objects(values: Collection[object]) -> NDArray[np.object_]:
    """Return an array, from which numpy picks values at many places."""
    return np.array(values, dtype=object)


def _find_places(ordered: Sequence[Any], values: Iterable[Any]) -> NDArray[np.int64]:
    """Return the place of each value in a sequence."""
    places = {value: place for place, value in enumerate(ordered)}
    return np.array([places[value] for value in values], dtype=np.int64)
