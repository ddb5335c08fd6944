"""The central web service: `app.create_app` makes it."""

import os

# numpy's threads for linear algebra are of no use here, take time to start, and are in the way of forking.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
