"""Our sketches beside those of the two that they must agree with: python-hll2 and PostgreSQL's extension."""

import functools
import itertools
import math
import random
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import mmh3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from psycopg2.extensions import connection as Connection  # noqa: N812 -- psycopg2 names its class in lower case
from python_hll2.hll import HLL

from eida_statistics import hll
from eida_statistics.canonical_sketches import are_canonical
from eida_statistics.errors import InvalidSketch

Hashes = NDArray[np.int64]

EXPLICIT_HEADER = bytes.fromhex("128b7f")
SPARSE_HEADER = bytes.fromhex("138b7f")
FULL_HEADER = bytes.fromhex("148b7f")

# The width of deployed nodes, and the one of other users of the storage specification.
WIDTHS = [32, 64]

# 160 is the last explicit size; 2,000 and more go through the ranges of the estimator.
SIZES = [0, 1, 2, 3, 159, 160, 161, 162, 300, 2_000, 10_000, 20_000, 100_000, 300_000]
# Occupied registers: 512 is our last sparse sketch, 640 the last one of PostgreSQL, 2,048 are all.
OCCUPIED = [511, 512, 513, 639, 640, 641, 2_047, 2_048]


@functools.cache
def random_hashes(width: int, seed: int, size: int) -> Hashes:
    """Draw distinct hashes, in no order."""
    random = np.random.default_rng([width, seed, size])
    half = 1 << (width - 1)
    drawn = np.unique(random.integers(-half, half, size + size // 500 + 10, dtype=np.int64))
    hashes = random.permutation(drawn)[:size]
    hashes.flags.writeable = False  # it is the same array for all tests
    return hashes


def hashes_that_occupy(registers: int, width: int) -> Hashes:
    hashes = random_hashes(width, registers, 40_000)
    firsts = np.sort(np.unique(hashes & 2_047, return_index=True)[1])
    return hashes[: firsts[registers - 1] + 1]


def samples(sizes: list[int], occupied: list[int]) -> list[object]:
    """Make pytest parameters, each a set of hashes that is drawn only when its test asks for it."""
    return [
        *(
            pytest.param(lambda size=size, width=width: random_hashes(width, 0, size), id=f"{size}-of-{width}-bits")
            for size, width in itertools.product(sizes, WIDTHS)
        ),
        *(
            pytest.param(
                lambda number=number, width=width: hashes_that_occupy(number, width),
                id=f"{number}-registers-of-{width}-bits",
            )
            for number, width in itertools.product(occupied, WIDTHS)
        ),
    ]


EVERY_SAMPLE = pytest.mark.parametrize("draw", samples(SIZES, OCCUPIED))


# The oracles


@contextmanager
def wrapping_integers() -> Iterator[None]:
    """Let python-hll2 shift numpy integers over their end, which it means to do and numpy warns of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
        yield


def built_by_python_hll2(hashes: Iterable[int]) -> HLL:
    sketch = HLL(hll.LOG2M, hll.REGWIDTH)
    with wrapping_integers():
        for hashed in hashes:
            sketch.add_raw(hashed)
    return sketch


def read_by_python_hll2(sketch: bytes) -> HLL:
    with wrapping_integers():
        return HLL.from_bytes(list(sketch))


def united_by_python_hll2(sketches: Iterable[bytes]) -> HLL:
    union = HLL(hll.LOG2M, hll.REGWIDTH)
    with wrapping_integers():
        for sketch in sketches:
            union.union(read_by_python_hll2(sketch))
    return union


def written_by_python_hll2(sketch: HLL) -> bytes:
    with wrapping_integers():
        return bytes(int(signed) & 255 for signed in sketch.to_bytes())


def cardinality_by_python_hll2(sketch: HLL) -> int:
    with wrapping_integers():
        return int(sketch.cardinality())


def built_by_postgresql(database: Connection, hashes: Hashes) -> bytes:
    with database.cursor() as cursor:
        # The aggregate of no rows is NULL, as SQL has it.
        cursor.execute(
            """SELECT coalesce(hll_add_agg(hash::hll_hashval, 11, 5, -1, 1), hll_empty(11, 5, -1, 1))::text
               FROM unnest(%s::bigint[]) AS hash""",
            ["{" + ",".join(map(str, hashes.tolist())) + "}"],
        )
        return hll.from_hex(cursor.fetchone()[0])


def united_by_postgresql(database: Connection, sketches: Iterable[bytes]) -> bytes:
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT hll_union_agg(sketch::hll)::text FROM unnest(%s) AS sketch",
            [[hll.to_hex(sketch) for sketch in sketches]],
        )
        return hll.from_hex(cursor.fetchone()[0])


def estimate_by_postgresql(database: Connection, sketch: bytes) -> float:
    with database.cursor() as cursor:
        cursor.execute("SELECT hll_cardinality(%s::hll)", [hll.to_hex(sketch)])
        return cursor.fetchone()[0]


# Encoding


@pytest.mark.parametrize("draw", samples([size for size in SIZES if size <= 20_000], OCCUPIED))
def test_bytes_are_those_of_python_hll2(draw):
    hashes = draw()
    theirs = built_by_python_hll2(hashes.tolist())
    assert hll.encode(hashes) == written_by_python_hll2(theirs)
    assert hll.cardinality(hll.encode(hashes)) == cardinality_by_python_hll2(theirs)


@pytest.mark.parametrize("draw", samples([size for size in SIZES if size > 20_000], []))
def test_large_sets_equal_python_hll2(draw):
    hashes = draw()
    theirs = united_by_python_hll2(hll.encode(part) for part in np.array_split(hashes, hashes.size // 20_000))
    assert hll.encode(hashes) == written_by_python_hll2(theirs)
    assert hll.cardinality(hll.encode(hashes)) == cardinality_by_python_hll2(theirs)


@EVERY_SAMPLE
def test_python_hll2_reads_what_we_write(draw):
    ours = hll.encode(draw())
    theirs = read_by_python_hll2(ours)
    assert written_by_python_hll2(theirs) == ours
    assert cardinality_by_python_hll2(theirs) == hll.cardinality(ours)


@EVERY_SAMPLE
def test_postgresql_counts_the_same_clients(hll_database, draw):
    hashes = draw()
    ours, theirs = hll.encode(hashes), built_by_postgresql(hll_database, hashes)
    hll.check(theirs)
    assert np.array_equal(hll.decode_registers(theirs), hll.decode_registers(ours))
    assert hll.canonicalize(theirs) == ours
    estimate = estimate_by_postgresql(hll_database, theirs)
    assert hll.cardinality(theirs) == hll.cardinality(ours) == math.ceil(estimate)
    assert hll.estimate(ours) == pytest.approx(estimate, rel=1e-12)


@EVERY_SAMPLE
def test_postgresql_reads_what_we_write(hll_database, draw):
    ours = hll.encode(draw())
    united = united_by_postgresql(hll_database, [ours])
    assert np.array_equal(hll.decode_registers(united), hll.decode_registers(ours))
    assert math.ceil(estimate_by_postgresql(hll_database, ours)) == hll.cardinality(ours)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("occupied", OCCUPIED)
def test_samples_have_the_stated_registers(occupied, width):
    sketch = hll.encode(hashes_that_occupy(occupied, width))
    assert np.count_nonzero(hll.decode_registers(sketch)) == occupied


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("occupied", "our_header", "their_header"),
    [
        (512, SPARSE_HEADER, SPARSE_HEADER),
        (513, FULL_HEADER, SPARSE_HEADER),
        (639, FULL_HEADER, SPARSE_HEADER),
        # 640 words of two bytes are as long as the full form, and are no longer worth it
        (640, FULL_HEADER, FULL_HEADER),
    ],
)
def test_postgresql_stays_sparse_for_longer(hll_database, occupied, width, our_header, their_header):
    hashes = hashes_that_occupy(occupied, width)
    assert hll.encode(hashes)[:3] == our_header
    assert built_by_postgresql(hll_database, hashes)[:3] == their_header


@pytest.mark.parametrize(
    ("size", "header"), [(0, b"\x11\x8b\x7f"), (1, EXPLICIT_HEADER), (160, EXPLICIT_HEADER), (161, SPARSE_HEADER)]
)
def test_up_to_160_clients_are_listed(size, header):
    sketch = hll.encode(random_hashes(32, 1, size))
    assert sketch[:3] == header
    if size <= 160:
        assert len(sketch) == 3 + 8 * size
        assert hll.estimate(sketch) == size


def test_all_ranks_are_those_of_both_oracles(hll_database):
    # More than 160 elements leave the explicit form; these all set register 0 to 1.
    filling = [number << 12 | 1 << 11 for number in range(200)]
    # Register n gets the one bit n - 1 of its stream: ranks above 31 are 31, and bit 63 is the sign.
    ranks = [-(1 << 63) if bit == 52 else (1 << bit) << 11 for bit in range(53)]
    hashes = np.array(filling + [hashed | (index + 1) for index, hashed in enumerate(ranks)], dtype=np.int64)
    ours = hll.encode(hashes)
    assert hll.decode_registers(ours)[:54].tolist() == [1, *(min(bit + 1, 31) for bit in range(53))]
    assert ours == written_by_python_hll2(built_by_python_hll2(hashes.tolist()))
    assert ours == built_by_postgresql(hll_database, hashes)


def test_hash_of_index_only_sets_no_register(hll_database):
    hashes = np.arange(200, dtype=np.int64)
    ours = hll.encode(hashes)
    assert ours == SPARSE_HEADER
    assert ours == written_by_python_hll2(built_by_python_hll2(hashes.tolist()))
    assert ours == built_by_postgresql(hll_database, hashes)
    assert hll.cardinality(ours) == 0 == estimate_by_postgresql(hll_database, ours)


def test_hashes_are_sorted_as_signed(hll_database):
    hashes = np.array([2**63 - 1, 0, -1, 1, -(2**63)], dtype=np.int64)
    ours = hll.encode(hashes)
    assert ours.hex(" ", 8).split()[1:] != sorted(ours.hex(" ", 8).split()[1:])
    assert ours == written_by_python_hll2(built_by_python_hll2(hashes.tolist()))
    assert ours == built_by_postgresql(hll_database, hashes)


@pytest.mark.parametrize("size", [0, 5, 160, 161, 3_000])
def test_encode_ignores_order_and_duplicates(size):
    hashes = random_hashes(64, 2, size)
    sketch = hll.encode(hashes)
    assert hll.encode(hashes[::-1]) == sketch
    assert hll.encode(np.concatenate([hashes, hashes])) == sketch
    assert hll.encode(hashes.tolist() * 3) == sketch
    assert hll.encode(set(hashes.tolist())) == sketch
    assert hll.encode(hashed for hashed in hashes.tolist()) == sketch


# Estimating


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [500, 2_000, 6_000, 10_000, 100_000, 1_000_000])
def test_estimate_is_near_the_truth(size, width):
    # Flajolet et al. 2007: a standard error of 1.04 / sqrt(2048), 2.3 %
    assert hll.estimate(hll.encode(random_hashes(width, 3, size))) == pytest.approx(size, rel=4 * 0.023)


@pytest.mark.parametrize("value", range(31))
def test_estimate_equals_postgresql(hll_database, value):
    for more in (0, 1, 1_000, 2_047):
        registers = np.full(hll.REGISTERS, value, dtype=np.uint8)
        registers[:more] = min(value + 1, 30)
        sketch = hll.encode_registers(registers)
        estimate = estimate_by_postgresql(hll_database, sketch)
        assert hll.estimate(sketch) == pytest.approx(estimate, rel=1e-12)
        assert hll.cardinality(sketch) == math.ceil(estimate)


@given(st.integers(0, 2**32), st.integers(0, 31), st.floats(0, 1))
@settings(deadline=None)
def test_any_registers_estimate_as_postgresql(hll_database, seed, greatest, share):
    random = np.random.default_rng(seed)
    registers = random.integers(0, greatest, hll.REGISTERS, dtype=np.uint8, endpoint=True)
    registers[random.random(hll.REGISTERS) > share] = 0
    sketch = hll.encode_registers(registers)
    assert hll.estimate(sketch) == pytest.approx(estimate_by_postgresql(hll_database, sketch), rel=1e-12)


def test_saturated_estimate_is_finite(hll_database):
    sketches = []
    for greatest in range(0, hll.REGISTERS + 1, 64):
        registers = np.full(hll.REGISTERS, 30, dtype=np.uint8)
        registers[:greatest] = 31
        sketches.append(hll.encode_registers(registers))
    theirs = [estimate_by_postgresql(hll_database, sketch) for sketch in sketches]
    assert math.isfinite(theirs[0])
    # All 2,048 registers at 31: the large-range correction is the logarithm of a negative number.
    assert math.isnan(theirs[-1])
    ours = [hll.estimate(sketch) for sketch in sketches]
    assert ours == [
        pytest.approx(estimate, rel=1e-12) if math.isfinite(estimate) else hll.MAX_ESTIMATE for estimate in theirs
    ]
    assert ours == sorted(ours)
    assert ours[-1] == hll.MAX_ESTIMATE
    assert hll.cardinality(sketches[-1]) < 2**63


# Merging


MERGED_SIZES = [0, 1, 100, 160, 161, 400, 600, 1_000, 20_000]


def overlapping(first: int, second: int) -> tuple[Hashes, Hashes]:
    """Draw two sets of which the smaller has half of its hashes in the other one."""
    common = min(first, second) // 2
    hashes = random_hashes(32, 4, first + second)
    return hashes[:first], hashes[first - common : first - common + second]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(MERGED_SIZES, repeat=2)))
def test_merged_sketch_equals_both_oracles(hll_database, first, second):
    left, right = overlapping(first, second)
    sketches = [hll.encode(left), hll.encode(right)]
    merged = hll.merge(sketches)
    assert merged == hll.encode(np.union1d(left, right))
    assert merged == written_by_python_hll2(united_by_python_hll2(sketches))
    assert merged == hll.canonicalize(united_by_postgresql(hll_database, sketches))
    built_there = [built_by_postgresql(hll_database, hashes) for hashes in (left, right)]
    assert merged == hll.merge(built_there)


hash_sets = st.builds(
    random_hashes,
    width=st.sampled_from(WIDTHS),
    seed=st.integers(0, 5),
    size=st.sampled_from([0, 1, 2, 80, 159, 160, 161, 300, 580, 600, 2_000]),
)


@given(st.lists(hash_sets, min_size=1, max_size=5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_merging_obeys_the_laws_of_unions(sets, random):
    sketches = [hll.encode(hashes) for hashes in sets]
    merged = hll.merge(sketches)
    assert merged == hll.encode(np.concatenate(sets))

    shuffled = random.sample(sketches, len(sketches))
    assert hll.merge(shuffled) == merged

    cut = random.randint(0, len(sketches))
    assert hll.merge([hll.merge(sketches[:cut]), hll.merge(sketches[cut:])]) == merged

    assert hll.merge([*sketches, *sketches]) == merged
    assert hll.merge([merged, merged]) == merged
    assert hll.merge([merged, sketches[0]]) == merged


def test_hundreds_unite_as_one_by_one():
    sizes = [1, 20, 161, 500, 700, 3_000] * 40
    draws = [random_hashes(64, seed, size) for seed, size in enumerate(sizes)]
    sketches = [hll.encode(hashes) for hashes in draws]
    # Full and sparse forms that `encode` does not write.
    sketches += [hll.to_dense(sketches[0]), SPARSE_HEADER, hll.EMPTY]
    united = functools.reduce(lambda one, other: hll.merge([one, other]), sketches)
    assert hll.unite(sketches) == united == hll.encode(np.concatenate(draws))


@pytest.mark.parametrize("occupied", [1, 511, 512, 513, 640, 2_048])
def test_checked_sketch_gets_its_canonical_form(occupied):
    canonical = hll.encode_registers(hll.compute_registers(hashes_that_occupy(occupied, 64)))
    assert hll.to_canonical(hll.to_dense(canonical)) == hll.to_canonical(canonical) == canonical


def test_reaching_a_count_does_not_depend_on_the_order():
    # Ten clients of the 110 have the same register, so the estimate of the union is too low.
    hashes = [1 << hll.LOG2M | number for number in range(1, 101)] + [
        number << hll.LOG2M for number in range(1, 11)
    ]
    exact, dense = [hll.encode(hashes[:60]), hll.encode(hashes[50:])], hll.to_dense(hll.encode(hashes[:1]))
    for count in (*range(100, 116), 161):
        expected = hll.cardinality(hll.unite([*exact, dense])) >= count
        for sketches in itertools.permutations([*exact, dense]):
            assert hll.reaches(sketches, count) == expected
    assert hll.reaches(exact, 110)
    assert not hll.reaches([*exact, dense], 110)


def test_merging_nothing_gives_the_empty_sketch():
    assert hll.merge([]) == hll.merge([hll.EMPTY, hll.EMPTY]) == hll.EMPTY == hll.encode([])


@given(
    st.lists(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), unique=True, max_size=hll.EXPLICIT_MAX), max_size=9)
)
def test_hashes_of_exact_sketches_are_listed(clients):
    hashes, numbers = hll.list_hashes(map(hll.encode, clients))
    expected = [(number, client) for number, some in enumerate(clients) for client in sorted(some)]
    assert list(zip(numbers.tolist(), hashes.tolist(), strict=True)) == expected


def test_merge_refuses_invalid_sketches():
    with pytest.raises(InvalidSketch):
        hll.merge([hll.EMPTY, b"\x12\x8b\x7f\x00"])


# Checking


def explicit(*elements: int) -> bytes:
    return EXPLICIT_HEADER + b"".join(element.to_bytes(8, "big", signed=True) for element in elements)


def sparse(*registers: tuple[int, int]) -> bytes:
    return SPARSE_HEADER + b"".join((index << 5 | value).to_bytes(2, "big") for index, value in registers)


REFUSED = {
    "nothing at all": b"",
    "half a header": b"\x12\x8b",
    "undefined": bytes.fromhex("108b7f"),
    "type 5": bytes.fromhex("158b7f") + bytes(1280),
    "version 0": bytes.fromhex("028b7f") + bytes(8),
    "version 2": bytes.fromhex("228b7f") + bytes(8),
    "log2m 10": bytes.fromhex("128a7f") + bytes(8),
    "log2m 12": bytes.fromhex("128c7f") + bytes(8),
    "regwidth 4": bytes.fromhex("126b7f") + bytes(8),
    "regwidth 6": bytes.fromhex("12ab7f") + bytes(8),
    "sparse disabled": bytes.fromhex("128b3f") + bytes(8),
    "explicit disabled": bytes.fromhex("128b40") + bytes(8),
    "explicit up to 128": bytes.fromhex("128b48") + bytes(8),
    "a set padding bit": bytes.fromhex("128bff") + bytes(8),
    "empty with content": bytes.fromhex("118b7f00"),
    "explicit without elements": explicit(),
    "explicit with 161 elements": explicit(*range(161)),
    "explicit with 1,000 elements": explicit(*range(1_000)),
    "explicit with a byte too many": explicit(1, 2) + b"\x00",
    "explicit with a byte too few": explicit(1, 2)[:-1],
    "explicit, descending": explicit(2, 1),
    "explicit, ascending without the sign": explicit(1, -1),
    "explicit, twice the same": explicit(1, 1),
    "explicit, unsorted at the end": explicit(*range(159), -1),
    "sparse with an odd byte": sparse((1, 1)) + b"\x00",
    "sparse, descending": sparse((2, 1), (1, 1)),
    "sparse, twice the same": sparse((1, 1), (1, 2)),
    "sparse, twice the last": sparse((0, 1), (2_047, 31), (2_047, 31)),
    "sparse, an unset register": sparse((1, 1), (2, 0)),
    "sparse, nothing but an unset register": sparse((0, 0)),
    "sparse with 2,049 words": sparse(*((index, 1) for index in range(2_048)), (2_047, 2)),
    "full with a byte too many": FULL_HEADER + bytes(1281),
    "full with a byte too few": FULL_HEADER + bytes(1279),
    "full without registers": FULL_HEADER,
}


@pytest.mark.parametrize("sketch", REFUSED.values(), ids=REFUSED)
def test_foreign_sketch_is_refused(sketch):
    with pytest.raises(InvalidSketch):
        hll.check(sketch)
    with pytest.raises(InvalidSketch):
        hll.canonicalize(sketch)
    with pytest.raises(InvalidSketch):
        hll.merge([sketch])


ACCEPTED = {
    "empty": hll.EMPTY,
    "one element": explicit(0),
    "the extreme elements": explicit(-(2**63), -1, 0, 2**63 - 1),
    "160 elements": explicit(*range(160)),
    "no register, sparse": SPARSE_HEADER,
    "the extreme registers": sparse((0, 31), (2_047, 31)),
    "640 registers, sparse": sparse(*((index, 1) for index in range(640))),
    "all registers, sparse": sparse(*((index, 31 - index % 31) for index in range(2_048))),
    "no register, full": FULL_HEADER + bytes(1280),
    "all registers at their end": FULL_HEADER + b"\xff" * 1280,
}


@pytest.mark.parametrize("sketch", ACCEPTED.values(), ids=ACCEPTED)
def test_all_specified_forms_are_accepted(hll_database, sketch):
    hll.check(sketch)
    assert_postgresql_reads(hll_database, sketch)


def assert_postgresql_reads(database: Connection, sketch: bytes) -> None:
    estimate_by_postgresql(database, sketch)
    united = united_by_postgresql(database, [hll.encode([1]), sketch, hll.encode(np.arange(300) << 12)])
    assert hll.canonicalize(united) == hll.merge([hll.encode([1]), sketch, hll.encode(np.arange(300) << 12)])


# A prefix of the explicit and of the sparse form is a sketch where it ends between two elements.
@pytest.mark.parametrize(
    ("size", "whole"),
    [(0, set()), (1, {11}), (160, set(range(11, 1_283, 8))), (250, set(range(3, 1_000, 2))), (5_000, set())],
)
def test_truncated_sketch_is_refused(size, whole):
    sketch = hll.encode(random_hashes(64, 6, size))
    for length in set(range(len(sketch))) - whole:
        with pytest.raises(InvalidSketch):
            hll.check(sketch[:length])


@pytest.mark.parametrize("size", [0, 160, 5_000])
def test_bytes_after_a_sketch_are_refused(size):
    sketch = hll.encode(random_hashes(64, 7, size))
    for count in range(1, 20):
        with pytest.raises(InvalidSketch):
            hll.check(sketch + b"\x01" * count)


headers = st.sampled_from([hll.EMPTY, EXPLICIT_HEADER, SPARSE_HEADER, FULL_HEADER])
registers_by_index = st.dictionaries(st.integers(0, 2_047), st.integers(1, 31), max_size=700)
sketches_of_any_form = st.one_of(
    hash_sets.map(hll.encode),
    st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=160).map(lambda some: explicit(*sorted(some))),
    registers_by_index.map(lambda registers: sparse(*sorted(registers.items()))),
    st.binary(min_size=1280, max_size=1280).map(lambda content: FULL_HEADER + content),
)


@st.composite
def damaged_sketches(draw: st.DrawFn) -> bytes:
    sketch = bytearray(draw(sketches_of_any_form))
    for _ in range(draw(st.integers(0, 3))):
        sketch[draw(st.integers(0, len(sketch) - 1))] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(sketch)))
    return bytes(sketch[: draw(st.sampled_from([start, len(sketch)]))]) + draw(st.binary(max_size=8))


anything = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda header, content: header + content, headers, st.binary(max_size=24)),
    damaged_sketches(),
)


@given(st.one_of(anything, sketches_of_any_form))
@settings(deadline=None, max_examples=400)
def test_any_accepted_bytes_suit_postgresql(hll_database, sketch):
    try:
        hll.check(sketch)
    except InvalidSketch:
        return
    canonical = hll.canonicalize(sketch)
    hll.check(canonical)
    assert np.array_equal(hll.decode_registers(canonical), hll.decode_registers(sketch))
    assert hll.estimate(canonical) == hll.estimate(sketch)
    assert hll.canonicalize(canonical) == canonical == hll.merge([sketch])
    assert_postgresql_reads(hll_database, sketch)


@given(sketches_of_any_form)
@settings(deadline=None)
def test_every_well_formed_sketch_is_accepted(sketch):
    hll.check(sketch)


# Hexadecimal


@given(st.binary(max_size=200))
def test_hex_round_trip_in_either_case(sketch):
    text = hll.to_hex(sketch)
    assert text == "\\x" + sketch.hex()
    assert hll.from_hex(text) == sketch
    assert hll.from_hex("\\x" + sketch.hex().upper()) == sketch


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "118b7f",
        "0x118b7f",
        "\\X118b7f",
        "\\\\x118b7f",
        "\\x118b7",
        "\\x118b7g",
        "\\x11 8b7f",
        "\\x 118b7f",
        "\\x118b7f ",
        "\\x118b7f\n",
        " \\x118b7f",
        "\\x11\t8b7f",
        "\\x11 8b 7f ",
        "\\x\uff1118b7f",
        "\\x+18b7f",
    ],
)
def test_non_hexadecimal_is_refused(text):
    with pytest.raises(InvalidSketch):
        hll.from_hex(text)


# Clients


@pytest.mark.parametrize(
    ("user", "hashed"),
    [(1497164453, 1754158144), (0, -764297089), (-1, 1908024458), (9223372036854775808, 763180138)],
)
def test_client_hash_is_the_same_at_all_nodes(user, hashed):
    assert hll.hash_client(user) == hashed == mmh3.hash(str(user), 0, signed=True)


def test_sketch_of_one_client_is_known():
    sketch = hll.encode([hll.hash_client(1497164453)])
    assert hll.to_hex(sketch) == "\\x128b7f00000000688e5440"
    assert hll.cardinality(sketch) == 1


# Many at once


def test_are_canonical_equals_one_by_one() -> None:
    chance = random.Random(20261122)
    sizes = [0, 1, 2, 3, 159, 160, 161, 400, 700, 5000]
    texts = [hll.to_hex(hll.encode(chance.sample(range(2**31), size))) for size in sizes for _ in range(5)]
    assert are_canonical(texts)
    assert are_canonical([])
    dense = hll.to_hex(bytes.fromhex("148b7f") + bytes(1280))
    sparse = hll.to_hex(bytes.fromhex("138b7f") + b"".join((index << 5 | 1).to_bytes(2) for index in range(513)))
    for other in (dense, sparse):
        assert hll.canonicalize(hll.from_hex(other)) != hll.from_hex(other)
        assert not are_canonical([*texts, other])


@given(st.lists(st.binary(max_size=40).map(lambda tail: hll.to_hex(b"\x12\x8b\x7f" + tail)) | st.text(max_size=30)))
def test_canonical_together_is_canonical_alone(texts: list[str]) -> None:
    def is_canonical(text: str) -> bool:
        try:
            sketch = hll.from_hex(text)
            return hll.to_hex(hll.canonicalize(sketch)) == text
        except InvalidSketch:
            return False

    assert are_canonical(texts) == all(map(is_canonical, texts))


@given(
    clients=st.sets(st.integers(-(2**63), 2**63 - 1), max_size=5),
    more=st.sets(st.integers(-(2**63), 2**63 - 1), max_size=5),
    many=st.sampled_from([0, 150, 400, 5000]),
)
def test_a_sketch_contains_the_clients_that_change_nothing(clients: set[int], more: set[int], many: int) -> None:
    sketch, other = hll.encode(clients | set(range(many))), hll.encode(more)
    assert hll.contains(sketch, other) == (hll.merge([sketch, other]) == sketch)
    assert hll.contains(other, sketch) == (hll.merge([sketch, other]) == other)
    assert hll.contains(hll.encode(clients | more), other)
    for damaged in (sketch[:2], sketch + b"\0"):
        with pytest.raises(InvalidSketch):
            hll.contains(damaged, other)
        with pytest.raises(InvalidSketch):
            hll.contains(other, damaged)
