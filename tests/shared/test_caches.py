"""Texts of any length do not fill the memory."""

import pytest

from eida_statistics.caches import cache_short_texts


@pytest.mark.parametrize(("text", "calls"), [("", 1), ("x" * 64, 1), ("x" * 65, 3), (None, 1)])
def test_only_short_texts_are_cached(text: str | None, calls: int) -> None:
    called = []

    @cache_short_texts(maxsize=8)
    def measure(text: str | None) -> int:
        """Return the length of a text."""
        called.append(text)
        return len(text or "")

    assert [measure(text) for _ in range(3)] == [len(text or "")] * 3
    assert len(called) == calls
    assert measure.__doc__ == "Return the length of a text."
