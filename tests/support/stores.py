"""On which stores a test runs; without a word, on both."""

import pytest

# For what is not the store's own: that its answers are alike on both, others see.
ON_ONE_STORE = pytest.mark.parametrize("store_uri", ["sqlite"], indirect=True)
# For locks and sessions, which SQLite does not have.
ON_POSTGRESQL = pytest.mark.parametrize("store_uri", ["postgresql"], indirect=True)
