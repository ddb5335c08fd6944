"""Find repeated requests among lines that are parsed at once: SeisComP mostly repeats a line right after it."""

from collections import Counter
from collections.abc import Sequence, Set
from itertools import chain
from typing import NamedTuple

from eida_stats_aggregator.fdsnws.plain_lines import Requests, split


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
    texts = [split(text[span]) if requests.ignored else text[span].split(b"\n") for requests, span in pieces]
    are_unclear |= _find_differing(once, texts, repeated)
    dropped = 0
    unclear: list[bytes] = []
    seen: set[int] = set()
    for piece, (requests, lines) in enumerate(zip(once, texts, strict=True)):
        places = []
        for place in _find(requests, repeated):
            one = requests.hashes[place]
            if one in are_unclear:
                unclear.append(lines[place])
            elif one in seen:
                dropped += 1
            else:
                seen.add(one)
                continue
            places.append(place)
        if places:
            once[piece] = requests.drop(places)
    return Separated(once, dropped, unclear)


def _find_differing(pieces: list[Requests], texts: list[list[bytes]], repeated: set[int]) -> set[int]:
    """Return the hashes of those requests of which not all lines are the same."""
    first: dict[int, bytes] = {}
    differing = set()
    for requests, lines in zip(pieces, texts, strict=True):
        for place in _find(requests, repeated):
            one, line = requests.hashes[place], lines[place]
            if first.setdefault(one, line) != line:
                differing.add(one)
    return differing


def _find(requests: Requests, hashes: set[int]) -> list[int]:
    return [place for place, one in enumerate(requests.hashes) if one in hashes]
