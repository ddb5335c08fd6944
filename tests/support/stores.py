"""Marks that choose the stores of a test. Without one, it runs on both."""

import pytest

# For behaviour that does not depend on the store; other tests check that both answer alike.
ON_ONE_STORE = pytest.mark.parametrize("store_uri", ["sqlite"], indirect=True)
# For locks and sessions, which SQLite does not have.
ON_POSTGRESQL = pytest.mark.parametrize("store_uri", ["postgresql"], indirect=True)
