"""The clients of many groups, beside sketches of plain sets."""

import pickle
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eida_statistics import hll
from eida_statistics.client_sets import ClientSets

Members = dict[int, set[int]]

# The forms of sketches change at 160 clients, and sets of more than 512 are folded.
SIZES = [0, 1, 159, 160, 161, 511, 512, 513, 514, 1_025, 5_000]


def fill(members: Members, *, folded: bool = False) -> ClientSets:
    made = ClientSets()
    for group, clients in members.items():
        made.add(np.full(len(clients), group), np.fromiter(clients, dtype=np.int64))
    if folded:
        made.fold()
    return made


def draw_clients(seed: int, size: int) -> set[int]:
    return set(np.random.default_rng(seed).integers(-(2**31), 2**31, size).tolist())


def sketches(members: Members, count: int) -> list[str]:
    return [hll.to_hex(hll.encode(members.get(group, set()))) for group in range(count)]


def unite(sets: Iterable[set[int]]) -> set[int]:
    return set().union(*sets)


def test_folded_sets_are_the_same_sketches() -> None:
    generator = np.random.default_rng(17)
    folded, plain = ClientSets(fold_from=1000), ClientSets()
    members: dict[int, set[int]] = {}
    for _ in range(40):
        groups = generator.choice([0, 1, 1, 1, 3], 500).astype(np.int64) * generator.integers(0, 2, 500)
        clients = generator.integers(-(2**31), 2**31, 500)
        folded.add(groups, clients)
        plain.add(groups, clients)
        for group, client in zip(groups.tolist(), clients.tolist(), strict=True):
            members.setdefault(group, set()).add(client)
    expected = [hll.to_hex(hll.encode(members.get(group, set()))) for group in range(5)]
    assert folded.encode(np.arange(5)) == expected
    assert plain.encode(np.arange(5)) == expected
    # Sketches can be taken at any time.
    assert folded.encode(np.arange(5)) == expected


@pytest.mark.parametrize("size", SIZES)
def test_sets_can_grow_after_folding(size: int) -> None:
    members = {0: draw_clients(5, size), 2: {-7}}
    for folded in (False, True):
        sets = fill(members, folded=folded)
        for _ in range(2):  # reading changes nothing
            assert sets.encode(np.arange(4)) == sketches(members, 4)
        sets.add(np.array([0, 0, 3]), np.array([1, 1, -(2**31)]))
        sets.fold()
        assert sets.encode(np.arange(4)) == sketches(members | {0: members[0] | {1}, 3: {-(2**31)}}, 4)


def test_hash_without_register_folds_to_none() -> None:
    """A stream of zeros leaves its register as it is; the sketch has it as long as it lists its clients."""
    sets = fill({0: set(range(600))}, folded=True)
    assert sets.encode(np.arange(1)) == sketches({0: set(range(600))}, 1)


def test_empty_sets_have_empty_sketches() -> None:
    sets = ClientSets()
    sets.fold()
    sets.merge(ClientSets(), np.empty(0, dtype=np.int64))
    assert sets.encode(np.arange(2)) == [hll.to_hex(hll.EMPTY)] * 2
    assert sets.unite() == hll.EMPTY


def test_large_groups_take_no_pairs() -> None:
    sets = ClientSets(fold_from=1000)
    for number in range(100):
        sets.add(np.zeros(1000, dtype=np.int64), np.arange(number * 1000, number * 1000 + 1000))
    assert len(sets._pairs) + sets._size_added <= 2000
    assert sets.encode(np.arange(1)) == sketches({0: set(range(100_000))}, 1)


members = st.dictionaries(
    st.integers(0, 3),
    st.sets(st.integers(-5, 5), max_size=4) | st.builds(draw_clients, st.integers(0, 3), st.sampled_from(SIZES)),
)


@given(st.lists(st.tuples(members, st.booleans(), st.permutations(range(4))), max_size=4))
@settings(deadline=None)
def test_merged_sets_are_those_of_all(parts: list[tuple[Members, bool, list[int]]]) -> None:
    """Whichever were folded before, and however their groups are numbered."""
    sets = ClientSets()
    everything: Members = {}
    for added, folded, numbers in parts:
        other = fill(added, folded=folded)
        received: ClientSets = pickle.loads(pickle.dumps(other))
        sets.merge(received, np.array(numbers))
        assert other.encode(np.arange(4)) == sketches(added, 4)
        for group, clients in added.items():
            everything[numbers[group]] = everything.get(numbers[group], set()) | clients
    expected = sketches(everything, 4)
    assert sets.encode(np.arange(4)) == expected
    some = [3, 0, 3, 1]
    assert sets.encode(np.array(some)) == [expected[group] for group in some]
    assert sets.unite() == hll.encode(unite(everything.values()))


@given(members, st.booleans(), st.integers(0, 4))
@settings(deadline=None)
def test_dropped_groups_are_empty(given: Members, folded: bool, first: int) -> None:
    sets = fill(given, folded=folded)
    sets.drop(first)
    kept = {group: clients for group, clients in given.items() if group < first}
    assert sets.encode(np.arange(4)) == sketches(kept, 4)
    assert sets.size == fill(kept, folded=folded).size


def test_sketches_follow_each_change() -> None:
    """Where the clients of a group are is kept between two calls."""
    sets = ClientSets()
    everything = np.arange(4)
    sets.add(np.array([0, 2]), np.array([1, 2]))
    before = sets.encode(everything)
    sets.add(np.array([0, 3]), np.array([3, 4]))
    sets.add_registers(1, hll.compute_registers(np.array([5])))
    after = sets.encode(everything)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True, False]
    sets.drop(2)
    assert sets.encode(everything) == [*after[:2], before[1], before[1]]
    sets.fold()
    assert sets.encode(np.array([3, 0])) == [before[1], after[0]]
    assert sets.encode(np.empty(0, dtype=np.int64)) == []
