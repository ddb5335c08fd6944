"""Find repeated requests among lines that are parsed at once: SeisComP mostly repeats a line right after it."""

from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from itertools import chain
from typing import NamedTuple

from eida_stats_aggregator.fdsnws.plain_lines import Requests, split_requests


class Separated(NamedTuple):
    """The requests of some pieces of a text.

    Attributes:
        once: the requests of each piece, each of them once, without those of `unclear`.
        dropped: the number of lines that are the same as others, whose requests are in `once`.
        unclear: the lines of repeated requests that differ, or that may differ from those elsewhere.
    """

    once: list[Requests]
    dropped: int
    unclear: list[bytes]


def separate(pieces: Sequence[tuple[Requests, slice]], text: bytes, elsewhere: Set[int]) -> Separated:
    """Separate repeated requests.

    Args:
        pieces: the requests of each piece of a text, and where it is.
        text: the text.
        elsewhere: the keys, without the last bit, of other requests nearby.
    """
    once = [requests for requests, _ in pieces]
    hashes = list(chain.from_iterable(requests.hashes for requests in once))
    are_unclear = {one for one in hashes if one & ~1 in elsewhere} if elsewhere else set()
    if len(set(hashes)) == len(hashes) and not are_unclear:
        return Separated(once, 0, [])
    repeated = {one for one, count in Counter(hashes).items() if count > 1} | are_unclear
    lines = [
        split_requests(text[span]) if requests.ignored else text[span].split(b"\n") for requests, span in pieces
    ]
    dropped = 0
    unclear: list[bytes] = []
    left_out: list[list[int]] = [[] for _ in pieces]
    for one, records in _find_records(once, repeated).items():
        its_lines = [lines[piece][place] for piece, place in records]
        if one in are_unclear or its_lines.count(its_lines[0]) < len(its_lines):
            unclear += its_lines
        else:
            del records[0]  # which stays
            dropped += len(records)
        for piece, place in records:
            left_out[piece].append(place)
    return Separated(
        [requests.drop(places) if places else requests for requests, places in zip(once, left_out, strict=True)],
        dropped,
        unclear,
    )


def _find_records(pieces: list[Requests], hashes: set[int]) -> dict[int, list[tuple[int, int]]]:
    """Return the pieces and the places of requests, by their hashes."""
    found: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for piece, requests in enumerate(pieces):
        for place, one in enumerate(requests.hashes):
            if one in hashes:
                found[one].append((piece, place))
    return found
