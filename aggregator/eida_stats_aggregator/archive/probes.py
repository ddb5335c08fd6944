"""More metadata of a file: its checksum, and its type as libmagic sees it."""

import hashlib

from eida_stats_aggregator.archive.errors import PackageMissing

_BEGINNING_BYTES = 1 << 12


def compute_checksum(path: bytes) -> dict[str, str]:
    """Return the MD5 of a file.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - bytes
        return {"md5": hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()}


class MagicProbe:
    """Finds types with libmagic, from the first bytes of files."""

    def __init__(self) -> None:
        """Load its database.

        Raises:
            PackageMissing: if libmagic or python-magic is not installed.
        """
        try:
            import magic  # noqa: PLC0415 - an extra, and used with --magic only
        except ImportError as error:  # also if there is no libmagic
            raise PackageMissing(
                f"--magic: {error}",
                hint="Install libmagic (Debian: libmagic1), and in the source: pip install '.[archive]'",
            ) from error
        self._type = magic.Magic(mime=True)
        self._description = magic.Magic()

    def find(self, path: bytes) -> dict[str, str]:
        """Return the MIME type and a description of a file.

        Raises:
            OSError: if it cannot be read.
        """
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - bytes
            beginning = file.read(_BEGINNING_BYTES)
        return {"mime": self._type.from_buffer(beginning), "description": self._description.from_buffer(beginning)}
