"""Small groups of users are not told apart in public answers; docs/PRIVACY.md says why.

Statistical offices call it cell suppression: small cells are hidden, and then others, too, so that no hidden group
is the difference of what is shown.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import product
from operator import attrgetter

from eida_statistics import hll
from eida_stats_webservice.store.records import OTHER, Question, Statistic

# Date, node, network and country of a row that is shown.
Key = tuple[str, str, str, str]

_KEYS = attrgetter("date", "node", "network", "country")
_FEW = 8
_CHARACTERS_OF_DATE = {"month": 7, "year": 4}


def is_fine(question: Question) -> bool:
    """Tell whether an answer divides users more than by node and time."""
    return question.tells("network") or "country" in question.details or _names_some(question)


def merge_small(
    rows: Iterable[Statistic], minimum: int, question: Question, restricted: Collection[tuple[str, str]] = ()
) -> Iterator[Statistic]:
    """Merge, for each date, the rows with less than a minimum of clients into one row Other.

    Larger rows go there as well, the smallest first, where a smaller group could be found otherwise: any total of
    the same question by fewer levels or details, minus the rows within it that are shown, is nothing, or has the
    minimum of clients, or none of its rows are shown. If `Other` is the whole of its date, it may be smaller, since
    anybody can ask for that total; but where the question names networks or countries, no `Other` is shown then.

    Args:
        rows: the whole answer, with sketches, and restricted networks one by one.
        minimum: how many clients a row has at least.
        question: what was asked.
        restricted: nodes and networks that make up one row Other of each date and country.
    """
    pieces: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for row in rows:
        date, node, network, country = _KEYS(row)
        if (node, network) in restricted:
            node = network = OTHER
        pieces[date, node, network, country].append(row)
    hidden = _hidden(pieces, minimum, question, restricted)
    merged: defaultdict[Key, list[Statistic]] = defaultdict(list)
    node, network = (OTHER if question.tells(level) else "*" for level in ("node", "network"))
    country = OTHER if "country" in question.details else "*"
    for key in hidden:
        merged[key[0], node, network, country] += pieces[key]
    for key in merged:
        # Without countries the restricted networks have the same name.
        if key in pieces and key not in hidden:
            merged[key] += pieces[key]
            hidden.add(key)
    for key, parts in pieces.items():
        if key not in hidden:
            yield _united(key, parts)
    others = [_united(key, parts) for key, parts in merged.items()]
    # All or none of them: the others would tell of the one that is missing.
    if not _names_some(question) or all(other.clients >= minimum for other in others):
        yield from others


def arranged(rows: Iterable[Statistic], question: Question) -> Iterator[Statistic]:
    """Sort and limit rows in the order that the database would give."""
    ordered = sorted(rows, key=attrgetter("date", "node", "network", "station", "location", "channel", "country"))
    if question.sort is not None:
        ordered.sort(key=attrgetter(question.sort.removeprefix("-")), reverse=question.sort.startswith("-"))
    yield from ordered[: question.limit]


def _names_some(question: Question) -> bool:
    return bool(question.countries) or question.names_streams


def _hidden(
    pieces: dict[Key, list[Statistic]],
    minimum: int,
    question: Question,
    restricted: Collection[tuple[str, str]],
) -> set[Key]:
    """Choose what is not shown: the small pieces, and others of totals that would give these away."""
    clients = {key: _clients(parts) for key, parts in pieces.items()}
    hidden = {key for key, count in clients.items() if count < minimum}
    totals = list(_totals(pieces, question, restricted))
    settled = False
    while not settled:
        settled = True
        for never_shown, within in totals:
            gone = never_shown + [row for key in within if key in hidden for row in pieces[key]]
            if not gone or _reaches(gone, minimum):
                continue
            left = [key for key in within if key not in hidden]
            left.sort(key=lambda key: (clients[key], key), reverse=True)
            while left and not _reaches(gone, minimum):
                smallest = left.pop()
                hidden.add(smallest)
                gone += pieces[smallest]
                settled = False
    return hidden


def _totals(
    pieces: dict[Key, list[Statistic]], question: Question, restricted: Collection[tuple[str, str]]
) -> Iterator[tuple[list[Statistic], list[Key]]]:
    """Give the totals that can be asked for: what of each is never shown in it, and the pieces that may be."""
    characters = max((_CHARACTERS_OF_DATE.get(detail, 0) for detail in question.details), default=0)
    dates = [count for count in (*sorted(_CHARACTERS_OF_DATE.values()), 0) if count <= characters]
    levels = [level for level in (None, "node", "network") if level is None or question.tells(level)]
    countries = [True, False] if "country" in question.details else [False]
    for level, by_country, date in product(levels, countries, dates):
        # All totals by node and date are public, so that nothing can be hidden of a longer time.
        if date < characters and level != "network" and not by_country and not _names_some(question):
            continue
        never_shown: defaultdict[tuple[str, ...], list[Statistic]] = defaultdict(list)
        within: defaultdict[tuple[str, ...], list[Key]] = defaultdict(list)
        for key, parts in pieces.items():
            for row in parts if level else parts[:1]:
                total = (
                    row.date[:date],
                    row.node if level else "",
                    row.network if level == "network" else "",
                    row.country if by_country else "",
                )
                # The row Other of restricted networks is of no node.
                if level and (row.node, row.network) in restricted:
                    never_shown[total].append(row)
                else:
                    within[total].append(key)
        yield from ((never_shown[total], keys) for total, keys in within.items())


def _clients(parts: list[Statistic]) -> int:
    return parts[0].clients if len(parts) == 1 else hll.cardinality(_union(parts))


def _reaches(parts: list[Statistic], minimum: int) -> bool:
    """Tell whether rows have a number of clients together."""
    counts = [row.clients for row in parts]
    # Unions cost more than all else: most questions are decided without, and most others by that of few rows.
    if max(counts) >= minimum or sum(counts) < minimum:
        return max(counts) >= minimum
    return any(_clients(some) >= minimum for some in (parts[:_FEW], parts))


def _united(key: Key, parts: list[Statistic]) -> Statistic:
    if len(parts) == 1 and _KEYS(parts[0]) == key:
        return parts[0]
    date, node, network, country = key
    sketch = _union(parts)
    return Statistic(
        *(date, node, network, "*", "*", "*", country),
        bytes=sum(row.bytes for row in parts),
        nb_reqs=sum(row.nb_reqs for row in parts),
        nb_successful_reqs=sum(row.nb_successful_reqs for row in parts),
        nb_unsuccessful_reqs=sum(row.nb_unsuccessful_reqs for row in parts),
        clients=hll.cardinality(sketch),
        hll_clients=sketch,
    )


def _union(parts: list[Statistic]) -> bytes:
    return hll.merge(row.hll_clients for row in parts if row.hll_clients is not None)
