"""The lines of a file that are refused one by one, of which a file may have a few."""

from dataclasses import dataclass, field
from pathlib import Path

from eida_statistics.archive.errors import InvalidLine
from eida_stats_webservice.archive.errors import BadLine, TooManyBadLines

_NAMED_LINES = 100
_MAX_SHARE = 0.01


@dataclass
class BadLines:
    """The lines of a file that were refused.

    Attributes:
        count: their number.
        first: the first of them.
    """

    count: int = 0
    first: list[BadLine] = field(default_factory=list)

    def add(self, number: int, error: InvalidLine) -> None:
        """Add a line by its number in the file."""
        self.count += 1
        if len(self.first) < _NAMED_LINES:
            self.first.append(BadLine(number, error.subject))

    def check_share(self, file: Path, lines: int, *, hint: str = "") -> None:
        """Check that hardly any of the lines of a file was refused.

        Raises:
            TooManyBadLines: if it was more than one of a hundred.
        """
        if self.count > lines * _MAX_SHARE:
            raise TooManyBadLines(file, self.count, lines, self.first, hint=hint)
