"""A cache for texts of logs, which may have any length."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

_LONGEST = 64
_Text = TypeVar("_Text", str, str | None)
_Result = TypeVar("_Result")


def cache_short_texts(maxsize: int) -> Callable[[Callable[[_Text], _Result]], Callable[[_Text], _Result]]:
    """Return a decorator that caches the results for texts of at most 64 characters.

    A damaged or forged log may have thousands of texts of megabytes, which must not fill the memory.
    """

    def decorate(function: Callable[[_Text], _Result]) -> Callable[[_Text], _Result]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def call(text: _Text) -> _Result:
            return cached(text) if text is None or len(text) <= _LONGEST else function(text)

        return call

    return decorate
