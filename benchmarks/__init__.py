"""Benchmarks, and the generator of logs that they and the tests use."""

import sys
from pathlib import Path

# The benchmarks use helpers of the tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
