"""Parse the parameters of requests that concern payloads."""

import re

from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.payloads.kinds import Kind
from eida_stats_webservice.payloads.overlaps import Overlap
from eida_stats_webservice.web.parameters import quote_parameter

_HASH_CHARACTERS = 32


def parse_overlap(value: str | None) -> Overlap | None:
    """Parse `overlap`: whether other payloads may be in force for the same days.

    Raises:
        BadParameter: if it is another word.
    """
    if value is None:
        return None
    if value not in list(Overlap):
        raise BadParameter(quote_parameter("overlap", value), hint="Use accept or refuse.")
    return Overlap(value)


def parse_names(value: str | None) -> list[int | str]:
    """Parse `replaces`: numbers or hashes of payloads.

    Raises:
        BadParameter: if one is neither.
    """
    if value is None:
        return []
    names = value.split(",")
    if not all(re.fullmatch(r"[0-9]{1,31}|[0-9a-f]{32}", name, re.ASCII) for name in names):
        hint = "Use numbers or hashes of payloads, separated by commas. List them: GET …/payloads"
        raise BadParameter(quote_parameter("replaces", value), hint=hint)
    return [name if len(name) == _HASH_CHARACTERS else int(name) for name in names]


def parse_kind(value: str | None) -> Kind | None:
    """Parse `kind`: the kind of payloads.

    Raises:
        BadParameter: if there is no such kind.
    """
    if value is None:
        return None
    if value not in list(Kind):
        raise BadParameter(quote_parameter("kind", value), hint=f"Use {' or '.join(Kind)}.")
    return Kind(value)


def parse_limit(value: str | None) -> int | None:
    """Parse `limit`: how many payloads to list.

    Raises:
        BadParameter: if it is no number from 1 on.
    """
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value, re.ASCII):
        raise BadParameter(quote_parameter("limit", value), hint="Use a number from 1 to 999999999.")
    return int(value)
