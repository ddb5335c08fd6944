"""Suppress small groups of users in public answers; docs/PRIVACY.md says why.

Statistical offices call it cell suppression: small cells are hidden, and then others, too, so that no hidden group
is the difference of visible rows.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import product
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from eida_statistics import hll
from eida_stats_webservice.query.model import Question, Statistic
from eida_stats_webservice.registry.models import OTHER

# Date, node, network and country of a row.
Key = tuple[str, str, str, str]
# Nodes and networks.
Networks = Collection[tuple[str, str]]

_CHARACTERS_OF_DATE = {"month": 7, "year": 4}
_DATES = frozenset(_CHARACTERS_OF_DATE)


def is_fine(question: Question) -> bool:
    """Return whether an answer divides users more than by node and time."""
    return question.tells("network") or "country" in question.details or _names_some(question)


def broadened(question: Question) -> Question:
    """Return the question without names, whose answer has all rows of which that to the question is made.

    What is shown to who names something is decided there: else a row that is hidden could be asked for by name.
    """
    level = "network" if question.networks or question.tells("network") else question.level
    return msgspec.structs.replace(
        question,
        level="node" if level is None and question.nodes else level,
        details=question.details | ({"country"} if question.countries else set()),
        nodes=(),
        networks=(),
        countries=(),
        merge_nodes=False,
        sort=None,
        limit=None,
    )


def merge_small(
    rows: Iterable[Statistic],
    minimum: int,
    question: Question,
    restricted: Networks = (),
    open_totals: Iterable[Statistic] = (),
) -> Iterator[Statistic]:
    """Merge, for each date, the rows with less than a minimum of clients into one row Other.

    Larger rows go there as well, the smallest first, where a smaller group could be found otherwise: any total of
    the same question by fewer levels or details, minus the rows within it that are shown, is nothing, or has the
    minimum of clients, or none of its rows are shown. If `Other` is the whole of its date, it may be smaller, since
    anybody can ask for that total. Where the question names networks or countries, the hidden rows are `Other` only
    if their total is shown, too; else they are left out.

    Args:
        rows: the whole answer to the broadened question, with sketches, and restricted networks one by one.
        minimum: how many clients a row has at least.
        question: the question.
        restricted: those that make up one row Other of each date and country.
        open_totals: the totals of open months, by date, which are hidden as a whole. They are left out where the
            question names networks or countries.
    """
    atoms = list(rows)
    shown, left = _divided(atoms, minimum, question, restricted)
    if not _names_some(question):
        _hide_open_months(open_totals, question, shown, left)
    yield from (_united(key, parts) for key, parts in shown.items())
    if _names_some(question):
        whole = msgspec.structs.replace(question, level=None, details=question.details & _DATES)
        parts_of_whole = _summed(atoms, broadened(whole))
        totals, _ = _divided(parts_of_whole, minimum, whole, restricted)
        # All or none of them: the others would reveal the one that is missing.
        if whole == question or any((date, "*", "*", "*") not in totals for date in left):
            return
    yield from (_united(_other_key(date, question), parts) for date, parts in left.items())


def without_nodes(rows: Iterable[Statistic]) -> Iterator[Statistic]:
    """Unite the rows of one date, network and country, whatever their nodes; each has been decided on before."""
    united: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for row in rows:
        united[row.date, "*", row.network, row.country].append(row)
    for key, parts in united.items():
        yield _united(key, parts)


def arranged(rows: Iterable[Statistic], question: Question) -> Iterator[Statistic]:
    """Sort and limit rows in the order that the database would give."""
    ordered = sorted(rows, key=attrgetter("date", "node", "network", "station", "location", "channel", "country"))
    if question.sort is not None:
        ordered.sort(key=attrgetter(question.sort.removeprefix("-")), reverse=question.sort.startswith("-"))
    yield from ordered[: question.limit]


def _names_some(question: Question) -> bool:
    return bool(question.countries) or question.names_streams


def _characters_of_date(question: Question) -> int:
    return max((_CHARACTERS_OF_DATE.get(detail, 0) for detail in question.details), default=0)


def _divided(
    atoms: list[Statistic], minimum: int, question: Question, restricted: Networks
) -> tuple[dict[Key, list[Statistic]], dict[str, list[Statistic]]]:
    """Divide the rows of a question into those that are shown, and those that are hidden, by date."""
    hidden = hidden_rows(atoms, minimum, broadened(question), restricted)
    cells: defaultdict[Key, list[int]] = defaultdict(list)
    for number, atom in enumerate(atoms):
        if is_counted(atom, question, restricted):
            cells[_cell(atom, question, restricted)].append(number)
    shown: dict[Key, list[Statistic]] = {}
    left: defaultdict[str, list[Statistic]] = defaultdict(list)
    for key, numbers in cells.items():
        parts = [atoms[number] for number in numbers]
        # For one node, a row Other of restricted networks would reveal more than the node's total.
        of_node = question.nodes and any((part.node, part.network) in restricted for part in parts)
        if hidden[numbers].any() or of_node:
            left[key[0]] += parts
        else:
            shown[key] = parts
    for date in left:
        # Without countries the restricted networks have the same name.
        left[date] += shown.pop(_other_key(date, question), [])
    return shown, dict(left)


def _hide_open_months(
    totals: Iterable[Statistic],
    question: Question,
    shown: dict[Key, list[Statistic]],
    left: dict[str, list[Statistic]],
) -> None:
    """Add the totals of open months to the hidden rows of each date."""
    for total in totals:
        restricted = shown.pop(_other_key(total.date, question), [])
        left.setdefault(total.date, []).extend([total, *restricted])


def _other_key(date: str, question: Question) -> Key:
    """Return the key of the row Other of a date."""
    node, network = (OTHER if question.tells(level) else "*" for level in ("node", "network"))
    return date, node, network, OTHER if "country" in question.details else "*"


def is_counted(row: Statistic, question: Question, restricted: Networks) -> bool:
    """Return whether a row of the broadened or the finest question is part of the answer to a question.

    Where networks are named, a row Other would have the restricted ones alone. They are left out.
    """
    is_left_out = question.names_streams and (row.node, row.network) in restricted
    return not is_left_out and _is_asked_for(row, question)


def _is_asked_for(row: Statistic, question: Question) -> bool:
    return all(
        not names or value in names
        for value, names in (
            (row.node, question.nodes),
            (row.network, question.networks),
            (row.country, question.countries),
        )
    )


def _cell(row: Statistic, question: Question, restricted: Networks) -> Key:
    """Return the key of that row of an answer of which a row of the broadened one is a part."""
    unseen = question.tells("network") and (row.node, row.network) in restricted
    return (
        row.date,
        "*" if not question.tells("node") else OTHER if unseen else row.node,
        "*" if not question.tells("network") else OTHER if unseen else row.network,
        row.country if "country" in question.details else "*",
    )


def key_of(row: Statistic) -> Key:
    """Return the key of a row."""
    return row.date, row.node, row.network, row.country


def key_of_answer(row: Statistic, question: Question, restricted: Networks) -> Key:
    """Return the key of the row of an answer that contains a row by month, node, network and country."""
    month, node, network, country = _cell(row, question, restricted)
    date = month[: _characters_of_date(question)] or "*"
    return date, "*" if question.merge_nodes else node, network, country


def _summed(atoms: list[Statistic], question: Question) -> list[Statistic]:
    """Make of the rows of an answer those to a question that divides less."""
    parts: defaultdict[Key, list[Statistic]] = defaultdict(list)
    for atom in atoms:
        parts[_cell(atom, question, ())].append(atom)
    return [_united(key, rows) for key, rows in parts.items()]


def hidden_rows(
    atoms: list[Statistic], minimum: int, question: Question, restricted: Networks
) -> NDArray[np.bool_]:
    """Return which rows of a broadened question are not shown: small ones, and others that would reveal these."""
    pieces = _Pieces(atoms, minimum, restricted)
    totals = list(_totals(atoms, question))
    # All of them in each round, not only up to the first that hides something.
    while sum(pieces.hide_more(*total) for total in totals):
        pass
    return pieces.hidden


class _Pieces:
    """The rows of an answer, in the pieces in which they are shown or hidden.

    Restricted networks of one date and country are one piece, others a piece each. A piece is named by its first
    row. A restricted network that is alone in its piece is hidden as if it had no clients: a row Other of it alone
    would have its figures.
    """

    def __init__(self, atoms: list[Statistic], minimum: int, restricted: Networks) -> None:
        self._atoms = atoms
        self._minimum = minimum
        self._clients = np.array([atom.clients for atom in atoms], dtype=np.int64)
        self._unseen = np.array([(atom.node, atom.network) in restricted for atom in atoms], dtype=bool)
        together: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for number in np.flatnonzero(self._unseen):
            together[atoms[number].date, atoms[number].country].append(int(number))
        self._members = {numbers[0]: numbers for numbers in together.values()}
        self._alone = np.zeros(len(atoms), dtype=bool)
        for numbers in together.values():
            self._alone[numbers] = len({atoms[number].network for number in numbers}) == 1
        self._piece = np.arange(len(atoms))
        self._size = self._clients.copy()
        for numbers in self._members.values():
            self._piece[numbers] = numbers[0]
            self._size[numbers] = _clients([atoms[number] for number in numbers])
        self.hidden: NDArray[np.bool_] = (self._size < minimum) | self._alone

    def hide_more(self, level: tuple[str, ...], groups: NDArray[np.intp], count: int) -> bool:
        """Hide more rows where a total would reveal a small group, and return whether any was hidden.

        Args:
            level: whether these totals are of nodes or networks.
            groups: in which of them each row is.
            count: how many they are.
        """
        # The row Other of restricted networks is of no node. Totals of a network at all nodes do not have them.
        there = ~self._unseen if level == ("network",) else np.ones_like(self._unseen)
        gone = (self.hidden | self._unseen if "node" in level else self.hidden) & there
        most = np.zeros(count, dtype=np.int64)
        counted = gone & ~self._alone
        np.maximum.at(most, groups[counted], self._clients[counted])
        # Where nothing is gone there is nothing to find, and where a row that is large enough is, neither.
        some_gone, some_left = (np.bincount(groups[rows], minlength=count) > 0 for rows in (gone, ~gone & there))
        suspect = some_gone & some_left & (most < self._minimum)
        rows = np.flatnonzero(suspect[groups] & there)
        rows = rows[np.argsort(groups[rows], kind="stable")]
        ends = np.flatnonzero(np.diff(groups[rows])) + 1
        return sum(self._hide_more_of(total, gone) for total in np.split(rows, ends)) > 0

    def _hide_more_of(self, rows: NDArray[np.intp], gone: NDArray[np.bool_]) -> bool:
        """Hide the smallest pieces of one total until what is not shown of it is large enough."""
        missing = rows[gone[rows]].tolist()
        left = list(dict.fromkeys(self._piece[rows[~gone[rows]]].tolist()))
        left.sort(key=lambda piece: (self._size[piece], key_of(self._atoms[piece])), reverse=True)
        changed = False
        while left and missing and not self._are_enough(missing):
            smallest = left.pop()
            members = self._members.get(smallest, [smallest])
            self.hidden[members] = True
            missing += members
            changed = True
        return changed

    def _are_enough(self, numbers: list[int]) -> bool:
        counted = [self._atoms[number] for number in numbers if not self._alone[number]]
        return bool(counted) and _reaches(counted, self._minimum)


def _totals(atoms: list[Statistic], question: Question) -> Iterator[tuple[tuple[str, ...], NDArray[np.intp], int]]:
    """Yield the totals that a question can have: their fields, the total of each row, and how many there are."""
    characters = _characters_of_date(question)
    dates = [count for count in (*sorted(_CHARACTERS_OF_DATE.values()), 0) if count <= characters]
    levels: list[tuple[str, ...]] = [()]
    if question.tells("node"):
        levels.append(("node",))
    if question.tells("network"):
        levels += [("node", "network"), ("network",)]
    countries = [("country",), ()] if "country" in question.details else [()]
    codes = {
        name: np.unique([getattr(atom, name) for atom in atoms], return_inverse=True)[1]
        for name in ("node", "network", "country")
    }
    of_date = {count: np.unique([atom.date[:count] for atom in atoms], return_inverse=True)[1] for count in dates}
    for level, country, date in product(levels, countries, dates):
        # All totals by node and date are public, so that nothing can be hidden of a longer time.
        if date < characters and "network" not in level and not country:
            continue
        combined = of_date[date].astype(np.int64)
        for name in (*level, *country):
            combined = combined * (int(codes[name].max(initial=0)) + 1) + codes[name]
        found, groups = np.unique(combined, return_inverse=True)
        yield level, groups, len(found)


def _clients(parts: list[Statistic]) -> int:
    return parts[0].clients if len(parts) == 1 else hll.cardinality(_union(parts))


def _reaches(parts: list[Statistic], minimum: int) -> bool:
    """Return whether rows have a number of clients together."""
    counts = [row.clients for row in parts]
    # Unions cost more than all else, and most are not needed.
    if max(counts) >= minimum or sum(counts) < minimum:
        return max(counts) >= minimum
    return hll.reaches((part.hll_clients for part in parts if part.hll_clients is not None), minimum)


def _united(key: Key, parts: list[Statistic]) -> Statistic:
    if len(parts) == 1 and key_of(parts[0]) == key:
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
        seen=any(row.seen for row in parts),
        has_hidden=any(row.has_hidden for row in parts),
        last_month=max(row.last_month for row in parts),
    )


def _union(parts: list[Statistic]) -> bytes:
    return hll.merge(row.hll_clients for row in parts if row.hll_clients is not None)
