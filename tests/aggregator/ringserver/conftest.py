"""The operator of a node with ringservers."""

from pathlib import Path

import pytest

from support.ring_operator import RingOperator


@pytest.fixture
def operator(account: tuple[str, str, str], tmp_path: Path) -> RingOperator:
    """Return the operator of a node that has sent nothing."""
    return RingOperator(tmp_path / "node", *account)
