"""The bzip2 decoder of 7-Zip, which takes about four fifths of the time of libbz2, where it is installed."""

from collections.abc import Callable
from contextlib import suppress

# Returns the content of a whole bzip2 stream, or raises NotDecoded.
Decoder = Callable[[bytes], bytes]

_loaded: list[Decoder] = []


class NotDecoded(Exception):
    """This is not a bzip2 stream, a checksum in it is wrong, or the memory is short."""


def load() -> None:
    """Load the decoder for this process and those that are forked later, if it is installed. It takes 0.03 s."""
    # For some platforms there is none, and a library that it needs may be missing. Whatever fails, libbz2 works.
    with suppress(Exception):
        _loaded[:] = _loaded or [_SevenZip().decode]


def get_decoder() -> Decoder | None:
    """Return the decoder, or None if it is not loaded.

    Only one thread may call it, and the other threads of the process hardly run meanwhile.
    """
    return _loaded[0] if _loaded else None


class _SevenZip:
    def __init__(self) -> None:
        import pybit7z  # noqa: PLC0415 - slow to import

        # The extractor does not keep its library alive, and crashes without it.
        self._library = pybit7z.Bit7zLibrary(pybit7z.default_lib7zip())
        self._extractor = pybit7z.BitMemExtractor(self._library, pybit7z.FormatBZip2)
        self._faults = pybit7z.BitException, RuntimeError, MemoryError

    def decode(self, stream: bytes) -> bytes:
        try:
            return self._extractor.extract(stream, 0)
        except self._faults as error:
            raise NotDecoded from error
