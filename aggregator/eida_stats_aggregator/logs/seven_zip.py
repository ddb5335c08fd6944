"""The bzip2 decoder of 7-Zip, which takes four fifths of the time of libbz2, where it is installed."""

from collections.abc import Callable
from contextlib import suppress

# Returns the content of a whole bzip2 stream, or raises DamagedStream.
Decoder = Callable[[bytes], bytes]

_loaded: list[Decoder] = []


class DamagedStream(Exception):
    """This is not a whole bzip2 stream, or one of its checksums is wrong."""


def load() -> None:
    """Load the decoder for this process and those that are forked later, if it is installed. It takes 0.03 s."""
    # For some platforms there is none, and a library that it needs may be missing.
    with suppress(ImportError):
        _loaded[:] = _loaded or [_SevenZip().decode]


def get_decoder() -> Decoder | None:
    """Return the decoder, or None if it is not loaded.

    Only one thread may use it. Others wait most of the time.
    """
    return _loaded[0] if _loaded else None


class _SevenZip:
    def __init__(self) -> None:
        import pybit7z  # noqa: PLC0415 - slow to import

        self._fault = pybit7z.BitException
        try:
            # The extractor does not keep its library alive, and crashes without it.
            self._library = pybit7z.Bit7zLibrary(pybit7z.default_lib7zip())
        except self._fault as error:
            raise ImportError(str(error)) from error
        self._extractor = pybit7z.BitMemExtractor(self._library, pybit7z.FormatBZip2)

    def decode(self, stream: bytes) -> bytes:
        try:
            return self._extractor.extract(stream, 0)
        except self._fault as error:
            raise DamagedStream from error
