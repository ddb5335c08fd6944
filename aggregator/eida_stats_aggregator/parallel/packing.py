"""Pack the rows of a payload in several processes. Their number does not change the result."""

from collections.abc import Generator
from multiprocessing.connection import Connection

from eida_stats_aggregator.delivery.aggregate import Packed, pack_rows
from eida_stats_aggregator.fdsnws.sorted_rows import SortedRows
from eida_stats_aggregator.parallel.helpers import receive, send, start_helpers

# To start a process takes as long as to pack some pieces.
_PIECES_WORTH_A_PROCESS = 4


def pack(rows: SortedRows, *, jobs: int) -> Generator[Packed]:
    """Yield the rows in pieces, in their order. At most `jobs` processes pack them, of which this is one.

    Raises:
        WorkerLost: if one of the others was killed.
    """

    def pack_share(connection: Connection) -> None:
        first, step = connection.recv()
        for number in range(first, len(rows), step):
            connection.send(pack_rows(rows.make_piece(number)))

    jobs = min(jobs, len(rows) // _PIECES_WORTH_A_PROCESS)
    # Processes are forked, so they have all rows already. Each is at most one piece ahead, until it is received.
    with start_helpers(jobs - 1, pack_share, duplex=True) as helpers:
        step = len(helpers) + 1
        for first, helper in enumerate(helpers, 1):
            send(helper, (first, step))
        for number in range(len(rows)):
            place = number % step
            yield receive(helpers[place - 1]) if place else pack_rows(rows.make_piece(number))
