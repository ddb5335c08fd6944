"""The program of a node: it aggregates request logs and sends the result to the central service."""

import os

# numpy's threads for linear algebra are of no use here, take time to start, and are in the way of forking.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
