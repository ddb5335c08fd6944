"""Pack the rows of a payload in several processes. Their number does not change the result."""

from collections.abc import Generator

from eida_stats_aggregator.delivery.aggregate import Packed, pack_rows
from eida_stats_aggregator.fdsnws.sorted_rows import SortedRows
from eida_stats_aggregator.parallel import pool

# To start a process takes as long as to pack some pieces.
_PIECES_WORTH_A_PROCESS = 4
# Pieces that wait for an earlier one, per process. Each takes more than a megabyte.
_MAX_WAITING = 2


def pack(rows: SortedRows, *, jobs: int) -> Generator[Packed]:
    """Yield the rows in pieces, in their order. At most `jobs` other processes pack them.

    Raises:
        WorkerLost: if one of the processes was killed.
    """

    def pack_piece(number: int) -> Packed:
        return pack_rows(rows.make_piece(number))

    jobs = min(jobs, len(rows) // _PIECES_WORTH_A_PROCESS)
    # Processes are forked, so they have all rows already.
    return pool.process(iter(range(len(rows))), lambda: pack_piece, jobs, _MAX_WAITING)
