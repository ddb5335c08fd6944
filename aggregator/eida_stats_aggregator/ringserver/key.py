"""The key of a node, which replaces addresses by hashes."""

import secrets
from pathlib import Path

from eida_statistics.ringserver.identity import ClientKey, create_key, get_key_path, load_key
from eida_stats_aggregator.console import complain


def load_or_create_key(file: Path | None, *, dry_run: bool = False) -> ClientKey:
    """Return the key in a file, or that of the user, which is created if it is missing.

    A dry run creates no file: its key is good for this run only.

    Raises:
        UnusableUserSalt: if it cannot be read or created.
    """
    if file is not None:
        return load_key(file)
    path = get_key_path()
    if dry_run and not path.exists():
        return ClientKey(secrets.token_bytes())
    if create_key(path):
        complain(f"created a random key in {path}. Keep it: with another one, all records and clients look new.")
    return load_key(path)
