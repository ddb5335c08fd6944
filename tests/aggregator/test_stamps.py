"""Stamps of logs."""

import os
from pathlib import Path

from eida_stats_aggregator.stamps import read_stamps


def test_names_that_are_not_utf8_have_stamps_of_their_own(tmp_path: Path) -> None:
    paths = [Path(os.fsdecode(bytes(tmp_path) + name)) for name in (b"/caf\xe9", b"/caf\\xe9")]
    for size, path in enumerate(paths, 1):
        path.write_bytes(bytes(size))
    stamps = read_stamps(paths)
    assert [stamp.size for stamp in stamps.values()] == [1, 2]
    "".join(stamps).encode()
