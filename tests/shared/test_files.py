"""Files that are written completely or not at all."""

import os
from pathlib import Path

import pytest

from eida_statistics.files import EVERYBODY, OWNER_ONLY, write_file


@pytest.mark.parametrize(("permissions", "expected"), [(OWNER_ONLY, 0o600), (EVERYBODY, 0o640)])
def test_umask_limits_the_permissions(tmp_path: Path, permissions: int, expected: int) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "file", b"text", permissions)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == expected


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "file", b"new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]
