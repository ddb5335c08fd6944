"""Codes of shards, which are the catalogues of archives."""

import re

from eida_statistics.archive.errors import UnusableShard

_CODE = re.compile(r"[a-z][a-z0-9_]{0,49}")
_RESERVED = re.compile(r"pg_.*|public|information_schema|.*_tmp|.*_old")


def check_code(code: str) -> None:
    """Check that a shard may have this code, which is also the name of a schema.

    Raises:
        UnusableShard: if it may not.
    """
    if not _CODE.fullmatch(code):
        raise UnusableShard(
            f"code {code!r}", hint="Use at most 50 small letters, digits and underscores; begin with a letter."
        )
    if _RESERVED.fullmatch(code):
        raise UnusableShard(f"code {code}: PostgreSQL or this program uses it", hint="Choose another code.")
