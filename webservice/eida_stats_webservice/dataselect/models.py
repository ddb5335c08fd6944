"""Differences between stored sums and payloads."""

import msgspec

PAYLOADS = "payloads"


class Difference(msgspec.Struct, frozen=True):
    """A row that differs from the payloads in force, or a damaged payload. None stands for a missing row.

    `sketch` is a checksum: two sketches may have the same estimate.
    """

    table: str
    key: dict[str, str]
    stored: dict[str, int | str] | None
    due: dict[str, int | str] | None
