"""HyperLogLog sketches of unique clients, as bytes.

The bytes follow the HyperLogLog storage specification, version 1, which postgresql-hll, java-hll and
python-hll2 share, with the parameters that every EIDA node uses: log2m 11, regwidth 5, explicit up to 160
elements (the automatic threshold), sparse up to 512 registers, full above. The results of `encode` and `merge` are
canonical: the same clients have the same bytes, in whatever order they were added.

Source of the layout: https://github.com/aggregateknowledge/hll-storage-spec (v1.0.0).
"""

import math
import struct
from collections.abc import Iterable

import mmh3
import numpy as np
from numpy.typing import NDArray

from eida_statistics.errors import InvalidSketch

LOG2M = 11
REGWIDTH = 5
REGISTERS = 1 << LOG2M
MAX_REGISTER = (1 << REGWIDTH) - 1

# The automatic threshold: as many 64-bit elements as fit into the full form (1280 bytes).
EXPLICIT_MAX = REGISTERS * REGWIDTH // 8 // 8
# python-hll2: the largest power of two of 16-bit words that fit into the full form. PostgreSQL keeps the
# sparse form for somewhat longer; both forms stand for the same registers.
SPARSE_MAX = 512

VERSION = 1
EMPTY_KIND, EXPLICIT_KIND, SPARSE_KIND, FULL_KIND = 1, 2, 3, 4
# regwidth - 1 in three bits, log2m in five; then sparse enabled (one bit) and threshold "auto" (63).
PARAMETERS = bytes([(REGWIDTH - 1) << 5 | LOG2M, 1 << 6 | 63])
_HEADERS = {
    kind: bytes([VERSION << 4 | kind]) + PARAMETERS for kind in (EMPTY_KIND, EXPLICIT_KIND, SPARSE_KIND, FULL_KIND)
}
_KINDS = {header: kind for kind, header in _HEADERS.items()}
HEADER_SIZE = 3
_EXPLICIT_FORMS = [struct.Struct(f">{elements}q") for elements in range(EXPLICIT_MAX + 1)]
FULL_SIZE = HEADER_SIZE + REGISTERS * REGWIDTH // 8

# Flajolet et al. 2007, with the large-range correction for the bits that a register can see:
# regwidth 5 counts up to 31, so 30 bits below log2m.
_ALPHA_M_SQUARED = 0.7213 / (1.0 + 1.079 / REGISTERS) * REGISTERS * REGISTERS
_TWO_TO_L = float(1 << (MAX_REGISTER - 1 + LOG2M))
# From 2^L on the correction has no value (NaN in PostgreSQL); this is its largest one below, where what is
# left under the logarithm is the last bit of a double.
MAX_ESTIMATE = _TWO_TO_L * 53 * math.log(2)

EMPTY = _HEADERS[EMPTY_KIND]
# In hexadecimal, a sketch that lists hashes begins so, and each hash has so many digits.
EXPLICIT_HEX = "\\x" + _HEADERS[EXPLICIT_KIND].hex()
HASH_DIGITS = 16

# Bounds the memory for uniting many: 36 kB each.
_UNITED_AT_ONCE = 64
# How far each of eight registers is from the end of their five bytes.
_SHIFTS = np.arange(7 * REGWIDTH, -1, -REGWIDTH, dtype=np.uint64)
# The share of a register with each value in the sum of the estimate.
_WEIGHTS = np.ldexp(1.0, -np.arange(MAX_REGISTER + 1))
_LOWEST_BITS = sum(1 << REGWIDTH * register for register in range(REGISTERS))


def hash_client(user_id: int) -> int:
    """Return the hash of a client, equal at all nodes: signed 32-bit MurmurHash3 (x86, seed 0) of the userID."""
    return mmh3.hash(str(user_id))


def encode(hashes: Iterable[int] | NDArray[np.int64]) -> bytes:
    """Return the sketch of signed 64-bit hashes; duplicates and order do not matter."""
    if not isinstance(hashes, np.ndarray):
        elements = hashes if isinstance(hashes, set) else set(hashes)
        if 0 < len(elements) <= EXPLICIT_MAX:  # most sketches by far, and too small for numpy to be worth it
            return _HEADERS[EXPLICIT_KIND] + _EXPLICIT_FORMS[len(elements)].pack(*sorted(elements))
        hashes = np.fromiter(elements, dtype=np.int64, count=len(elements))
    if hashes.size > EXPLICIT_MAX:
        # To sort many takes several times as long. So many registers need at least as many distinct hashes.
        registers = compute_registers(hashes)
        if np.count_nonzero(registers) > EXPLICIT_MAX:
            return encode_registers(registers)
    distinct = sort_unique(hashes.copy())
    if distinct.size == 0:
        return EMPTY
    if distinct.size <= EXPLICIT_MAX:
        return _HEADERS[EXPLICIT_KIND] + distinct.astype(">i8").tobytes()
    return encode_registers(compute_registers(distinct))


def sort_unique(numbers: NDArray[np.int64], *, in_runs: bool = False) -> NDArray[np.int64]:
    """Return the distinct numbers, sorted. The array itself is sorted, too.

    With `in_runs`, it consists of a few runs that are sorted already, and is sorted several times as fast.

    `numpy.unique` uses a hash table, which takes ten times as long. Its first call imports `numpy.ma`.
    """
    numbers.sort(kind="stable" if in_runs else None)
    is_new = np.empty(len(numbers), dtype=np.bool_)
    is_new[:1] = True
    np.not_equal(numbers[1:], numbers[:-1], out=is_new[1:])
    return numbers[is_new]


def encode_registers(registers: NDArray[np.uint8]) -> bytes:
    """Return the sketch of 2048 register values, sparse or full as their number requires."""
    occupied = np.flatnonzero(registers)
    if occupied.size <= SPARSE_MAX:
        words = occupied.astype(np.uint16) << REGWIDTH | registers[occupied]
        return _HEADERS[SPARSE_KIND] + words.astype(">u2").tobytes()
    return _encode_full(registers)


def _encode_full(registers: NDArray[np.uint8]) -> bytes:
    # Eight registers take five bytes, which are the last ones of a word of eight bytes.
    words = np.bitwise_or.reduce(registers.reshape(-1, 8).astype(np.uint64) << _SHIFTS, axis=1).astype(">u8")
    content: bytes = words.view(np.uint8).reshape(-1, 8)[:, 8 - REGWIDTH :].tobytes()
    return _HEADERS[FULL_KIND] + content


def compute_registers(hashes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the 2048 register values (0 to 31) that these hashes set."""
    registers: NDArray[np.uint8] = compute_many_registers(hashes, np.zeros(len(hashes), dtype=np.intp), 1)[0]
    return registers


def compute_many_registers(hashes: NDArray[np.int64], groups: NDArray[np.intp], count: int) -> NDArray[np.uint8]:
    """Return the register values that hashes set in their groups, whose numbers are below `count`.

    Returns:
        One row of 2048 values for each group.
    """
    words = hashes.view(np.uint64)
    index = (words & np.uint64(REGISTERS - 1)).astype(np.intp)
    stream = words >> np.uint64(LOG2M)
    # A rank is the one-based position of the lowest set bit; the sentinel caps it at what a register holds.
    capped = stream | np.uint64(1 << (MAX_REGISTER - 1))
    rank = np.bitwise_count(capped ^ (capped - np.uint64(1)))
    # Not covered by the paper: a stream of zeros leaves its register unset, in all implementations alike.
    rank[stream == 0] = 0
    registers = np.zeros(count * REGISTERS, dtype=np.uint8)
    np.maximum.at(registers, groups * REGISTERS + index, rank)
    return registers.reshape(count, REGISTERS)


def to_dense(sketch: bytes) -> bytes:
    """Return a checked sketch in its full form, in which no client's hash is listed, however few they are."""
    return _encode_full(decode_registers(sketch))


def merge(sketches: Iterable[bytes]) -> bytes:
    """Unite sketches into one.

    Raises:
        InvalidSketch: if one of them is not valid.
    """
    given = list(sketches)
    for sketch in given:
        check(sketch)
    return unite(given)


def unite(sketches: Iterable[bytes]) -> bytes:
    """Unite checked sketches into one. Thousands of them are united at once."""
    contents: dict[int, list[bytes]] = {kind: [] for kind in _HEADERS}
    for sketch in sketches:
        contents[_KINDS[sketch[:HEADER_SIZE]]].append(sketch[HEADER_SIZE:])
    elements = b"".join(contents[EXPLICIT_KIND])
    is_explicit = not (contents[SPARSE_KIND] or contents[FULL_KIND])
    if is_explicit and len(elements) <= 8 * EXPLICIT_MAX:  # too small for numpy to be worth it
        return encode(_EXPLICIT_FORMS[len(elements) // 8].unpack(elements))
    hashes = np.frombuffer(elements, dtype=">i8").astype(np.int64)
    if is_explicit:
        return encode(hashes)
    registers = compute_registers(hashes)
    words = np.frombuffer(b"".join(contents[SPARSE_KIND]), dtype=">u2")
    np.maximum.at(registers, words >> REGWIDTH, (words & MAX_REGISTER).astype(np.uint8))
    full = contents[FULL_KIND]
    for start in range(0, len(full), _UNITED_AT_ONCE):
        decoded = _decode_full(b"".join(full[start : start + _UNITED_AT_ONCE]))
        np.maximum(registers, decoded.max(axis=0), out=registers)
    return encode_registers(registers)


def _decode_full(contents: bytes) -> NDArray[np.uint8]:
    """Return the registers of sketches in full form, without their headers: one row for each sketch."""
    groups = np.frombuffer(contents, dtype=np.uint8).reshape(-1, REGWIDTH)
    words = np.zeros((len(groups), 8), dtype=np.uint8)
    words[:, 8 - REGWIDTH :] = groups
    registers = (words.view(">u8").astype(np.uint64) >> _SHIFTS).astype(np.uint8) & np.uint8(MAX_REGISTER)
    return registers.reshape(-1, REGISTERS)


def is_exact(sketch: bytes) -> bool:
    """Return whether the cardinality of a valid sketch is no estimate: it lists the hashes of its clients."""
    return _KINDS[sketch[:HEADER_SIZE]] in (EMPTY_KIND, EXPLICIT_KIND)


def list_hashes(sketches: Iterable[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the hashes of exact sketches, and for each hash the number of its sketch, from 0."""
    lists = [sketch[HEADER_SIZE:] for sketch in sketches]
    numbers = np.repeat(np.arange(len(lists)), [len(listed) // 8 for listed in lists])
    return np.frombuffer(b"".join(lists), dtype=">i8").astype(np.int64), numbers


def reaches(sketches: Iterable[bytes], count: int) -> bool:
    """Return whether checked sketches, in any order, have at least `count` distinct clients."""
    given = list(sketches)
    if count > EXPLICIT_MAX or not all(map(is_exact, given)):
        return cardinality(unite(given)) >= count
    # The first few sketches are often enough.
    hashes: set[bytes] = set()
    for sketch in given:
        hashes.update(sketch[place : place + 8] for place in range(HEADER_SIZE, len(sketch), 8))
        if len(hashes) >= count:
            return True
    return len(hashes) >= count


def contains(sketch: bytes, other: bytes) -> bool:
    """Return whether a sketch, in the form that `encode` writes, has all clients of another one.

    Raises:
        InvalidSketch: if one of them is not valid.
    """
    check(sketch)
    check(other)
    return unite((sketch, other)) == sketch


def canonicalize(sketch: bytes) -> bytes:
    """Check a sketch, and return it in the form that `encode` writes.

    Raises:
        InvalidSketch: if it is not valid.
    """
    check(sketch)
    return to_canonical(sketch)


def to_canonical(sketch: bytes) -> bytes:
    """Return a checked sketch in the form that `encode` writes."""
    kind = _KINDS[sketch[:HEADER_SIZE]]
    is_canonical = (
        kind in (EMPTY_KIND, EXPLICIT_KIND)
        or (kind == SPARSE_KIND and len(sketch) <= HEADER_SIZE + 2 * SPARSE_MAX)
        or (kind == FULL_KIND and _count_registers(sketch) > SPARSE_MAX)
    )
    return sketch if is_canonical else encode_registers(decode_registers(sketch))


def _count_registers(sketch: bytes) -> int:
    """Return how many registers of a sketch in full form are set."""
    bits = int.from_bytes(memoryview(sketch)[HEADER_SIZE:])
    # The lowest bit of each register becomes the disjunction of all its bits.
    for shift in (1, 2):
        bits |= bits >> shift
    return ((bits | bits >> 1) & _LOWEST_BITS).bit_count()


def _decode_elements(sketch: bytes) -> NDArray[np.int64]:
    return np.frombuffer(sketch, dtype=">i8", offset=HEADER_SIZE).astype(np.int64)


def decode_registers(sketch: bytes) -> NDArray[np.uint8]:
    """Return the 2048 register values of a checked sketch of any form."""
    kind = _KINDS[sketch[:HEADER_SIZE]]
    if kind == EXPLICIT_KIND:
        return compute_registers(_decode_elements(sketch))
    registers = np.zeros(REGISTERS, dtype=np.uint8)
    if kind == SPARSE_KIND:
        words = np.frombuffer(sketch, dtype=">u2", offset=HEADER_SIZE)
        registers[words >> REGWIDTH] = words & MAX_REGISTER
    elif kind == FULL_KIND:
        registers = _decode_full(sketch[HEADER_SIZE:])[0]
    return registers


def estimate(sketch: bytes) -> float:
    """Estimate how many distinct hashes a checked sketch has seen; exact up to 160."""
    kind = _KINDS[sketch[:HEADER_SIZE]]
    if kind == EMPTY_KIND:
        return 0.0
    if kind == EXPLICIT_KIND:
        return float((len(sketch) - HEADER_SIZE) // 8)
    registers = decode_registers(sketch)
    # Sums of so few powers of two are exact, in any order.
    counts = np.bincount(registers, minlength=MAX_REGISTER + 1)
    raw = _ALPHA_M_SQUARED / float(counts @ _WEIGHTS)
    unset = int(counts[0])
    if unset and raw < 2.5 * REGISTERS:
        return REGISTERS * math.log(REGISTERS / unset)
    if raw <= _TWO_TO_L / 30.0:
        return raw
    if raw >= _TWO_TO_L:
        return MAX_ESTIMATE
    return -_TWO_TO_L * math.log(1.0 - raw / _TWO_TO_L)


def cardinality(sketch: bytes) -> int:
    """Return the estimate rounded up, as the federation reports it."""
    return math.ceil(estimate(sketch))


def check(sketch: bytes) -> int:
    """Check every bit of a sketch, and return the kind of its encoding.

    Versions of postgresql-hll before 2.20 read malformed sketches unsafely, so order, ranges and lengths are
    all checked here.

    Raises:
        InvalidSketch: with the reason.
    """
    kind = _KINDS.get(sketch[:HEADER_SIZE])
    size = len(sketch) - HEADER_SIZE
    if kind is None:
        raise InvalidSketch("another header")
    if kind == EXPLICIT_KIND:
        if size % 8 or not 8 <= size <= 8 * EXPLICIT_MAX:
            raise InvalidSketch(f"explicit with {size} bytes")
        if size > 8:
            elements = struct.unpack(f">{size // 8}q", memoryview(sketch)[HEADER_SIZE:])
            if list(elements) != sorted(set(elements)):
                raise InvalidSketch("explicit, not in ascending order")
    elif kind == SPARSE_KIND:
        if size % 2 or size > 2 * REGISTERS:
            raise InvalidSketch(f"sparse with {size} bytes")
        words = np.frombuffer(sketch, dtype=">u2", offset=HEADER_SIZE)
        index = (words >> REGWIDTH).astype(np.int32)
        if np.any(words & MAX_REGISTER == 0) or np.any(np.diff(index) <= 0):
            raise InvalidSketch("sparse, with unset registers or not in ascending order")
    elif kind == FULL_KIND and len(sketch) != FULL_SIZE:
        raise InvalidSketch(f"full with {size} bytes")
    elif kind == EMPTY_KIND and size:
        raise InvalidSketch("empty with content")
    return kind


def to_hex(sketch: bytes) -> str:
    r"""Write a sketch as payloads and PostgreSQL do: `\x` and hexadecimal digits."""
    return "\\x" + sketch.hex()


def from_hex(text: str) -> bytes:
    r"""Read what `to_hex` writes, in either case.

    Raises:
        InvalidSketch: if it is not `\x` and hexadecimal digits; the sketch itself is not checked.
    """
    try:
        sketch = bytes.fromhex(text[2:])
    except ValueError as error:
        raise InvalidSketch("not \\x and hexadecimal digits") from error
    # bytes.fromhex skips white space, which PostgreSQL would refuse
    if not text.startswith("\\x") or len(text) != 2 + 2 * len(sketch):
        raise InvalidSketch("not \\x and hexadecimal digits")
    return sketch
