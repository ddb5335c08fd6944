"""Parse filters: the values of a dimension that a query selects.

All functions take the name of a parameter, its value, and whether wildcards are allowed. They return the values of
which a row must have one, and raise BadParameter.
"""

import re

from eida_statistics.payload import normalize_country
from eida_stats_webservice.errors import BadParameter
from eida_stats_webservice.web.parameters import quote_parameter

_CODE = re.compile(r"[0-9A-Za-z_-]{1,8}")
_PATTERN = re.compile(r"[0-9A-Za-z_*?-]{1,16}")
_LOCATION = re.compile(r"[0-9A-Za-z _*?-]{1,16}")
_CHANNEL = re.compile(r"[0-9A-Za-z_*?-]{1,32}")
# Selects rows without a network, location or country.
_NONE = "--"


def parse_names(_name: str, value: str, _wildcards: bool) -> tuple[str, ...]:
    """Parse names of any form."""
    return tuple(dict.fromkeys(value.split(",")))


def parse_stations(name: str, value: str, _wildcards: bool) -> tuple[str, ...]:
    """Parse station codes with * and ?."""
    return _parse_patterns(_PATTERN, name, value)


def parse_locations(name: str, value: str, _wildcards: bool) -> tuple[str, ...]:
    """Parse location codes with * and ?. Both -- and the empty code stand for none in the tables."""
    patterns = _parse_patterns(_LOCATION, name, value)
    return (*patterns, "") if _NONE in patterns else patterns


def parse_channels(name: str, value: str, _wildcards: bool) -> tuple[str, ...]:
    """Parse channel codes with * and ?."""
    return _parse_patterns(_CHANNEL, name, value)


def parse_networks(name: str, value: str, wildcards: bool) -> tuple[str, ...]:
    """Parse one extended network code; with wildcards, several codes with * and ?."""
    if value in ("", _NONE):
        return ("",)
    if wildcards:
        return tuple("" if pattern == _NONE else pattern for pattern in _parse_patterns(_PATTERN, name, value))
    if not _CODE.fullmatch(value):
        raise BadParameter(
            quote_parameter(name, value), hint="Use one extended network code, without * or ?.", parameter=name
        )
    return (value,)


def parse_countries(name: str, value: str, wildcards: bool) -> tuple[str, ...]:
    """Parse country codes."""
    if value == "":
        return ("",)
    values = parse_names(name, value, wildcards)
    codes = tuple("" if country == _NONE else normalize_country(country) for country in values)
    if not all(code or country == _NONE for code, country in zip(codes, values, strict=True)):
        hint = "Use country codes of two characters, separated by commas; -- stands for requests without a country."
        raise BadParameter(quote_parameter(name, value), hint=hint, parameter=name)
    return tuple(dict.fromkeys(codes))


def _parse_patterns(pattern: re.Pattern[str], name: str, value: str) -> tuple[str, ...]:
    values = parse_names(name, value, True)
    if not all(map(pattern.fullmatch, values)):
        raise BadParameter(
            quote_parameter(name, value),
            hint="Use codes separated by commas, with * and ? as wildcards.",
            parameter=name,
        )
    # A filter that matches everything is none.
    return () if "*" in values else values
