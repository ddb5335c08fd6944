"""The aggregator of a node: aggregate request logs, and send the result to the central service."""

import os

# numpy's threads for linear algebra are of no use here, take time to start, and are in the way of forking.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
