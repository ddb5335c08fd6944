"""The registry of networks, which several processes share and one of them loads."""

import fcntl
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from eida_statistics.networks import Epoch, LoadedRegistry, get_epochs, try_to_load

Load = Callable[[], Iterable[Epoch]]


class NamelessFile:
    """A file without a name, which forked processes share.

    Its lock ends with the process that holds it, even if that is killed. With a lock of `multiprocessing`, the
    others would wait forever.
    """

    def __init__(self) -> None:
        self._file = _open_nameless_file()

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def read(self) -> bytes:
        """Return its content."""
        return os.pread(self._file.fileno(), os.fstat(self._file.fileno()).st_size, 0)

    def write(self, content: bytes) -> None:
        """Replace its content by one that is not shorter."""
        os.pwrite(self._file.fileno(), content, 0)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from locking it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


class SharedRegistry:
    """The registry of networks, which the first process that needs it loads."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._file = NamelessFile()

    def close(self) -> None:
        """Forget it."""
        self._file.close()

    def load(self) -> Iterable[Epoch]:
        """Return the registry, or raise the error of its loading."""
        with self._file.locked():
            if content := self._file.read():
                loaded: LoadedRegistry = pickle.loads(content)  # noqa: S301 - our own
            else:
                loaded = try_to_load(self._load)
                self._file.write(pickle.dumps(loaded))
        return get_epochs(loaded)


def _open_nameless_file() -> BinaryIO:
    if hasattr(os, "memfd_create"):  # it works in a container where nothing can be written
        return os.fdopen(os.memfd_create("parts"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
