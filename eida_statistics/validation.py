"""Reasons why a value does not have the expected type, in plain English.

`msgspec.ValidationError` has one message for programmers, whose text may change. So it is not parsed: each field
is checked again by itself.
"""

import typing
from collections.abc import Iterator, Mapping
from types import MappingProxyType, NoneType

import msgspec

ROOT = "$"
_NO_DESCRIPTIONS: Mapping[str, str] = MappingProxyType({})
_BY_TYPE: Mapping[object, str] = MappingProxyType(
    {int: "an integer", float: "a number", str: "a text", list: "a list", bool: "true or false"}
)

# A path such as `stats[3].bytes`, and the reason.
Fault = tuple[str, str]


def find_faults(
    value: object, expected: object, descriptions: Mapping[str, str] = _NO_DESCRIPTIONS, path: str = ""
) -> Iterator[Fault]:
    """Yield the path of each bad part of a value, and a reason that never quotes it.

    Args:
        value: built from dicts, lists and scalars, as JSON and TOML are decoded.
        expected: the type: a `msgspec.Struct`, a list, or anything else that `msgspec.convert` takes.
        descriptions: what is expected, by the name of a field, such as "a day, YYYY-MM-DD". A field that is in it
            is one fault, whatever is wrong within.
        path: where the value is, empty for a whole document.
    """
    if _fits(value, expected):
        return
    name = path.rpartition(".")[2]
    if name in descriptions:
        yield path, f"not {descriptions[name]}"
        return
    plain = _strip_annotations(expected)
    faults = _find_inner_faults(value, plain, descriptions, path)
    if (first := next(faults, None)) is not None:
        yield first
        yield from faults
    else:
        yield path or ROOT, f"not {_BY_TYPE.get(typing.get_origin(plain) or plain, 'an object')}"


def explain_first(value: object, expected: object, descriptions: Mapping[str, str] = _NO_DESCRIPTIONS) -> str:
    """Return the first fault of a value as one text; the path is left out if the whole value is meant."""
    path, reason = next(find_faults(value, expected, descriptions), (ROOT, "not valid"))
    return reason if path == ROOT else f"{path}: {reason}"


def _find_inner_faults(
    value: object, expected: object, descriptions: Mapping[str, str], path: str
) -> Iterator[Fault]:
    if isinstance(value, list) and typing.get_origin(expected) is list:
        (item,) = typing.get_args(expected)
        for number, one in enumerate(value):
            yield from find_faults(one, item, descriptions, f"{path}[{number}]")
    elif isinstance(value, dict) and isinstance(expected, type) and issubclass(expected, msgspec.Struct):
        fields = {field.encode_name: field for field in msgspec.structs.fields(expected)}
        if expected.__struct_config__.forbid_unknown_fields:
            yield from ((f"{path}.{name}" if path else name, "unknown") for name in value if name not in fields)
        for name, field in fields.items():
            place = f"{path}.{name}" if path else name
            if name in value:
                yield from find_faults(value[name], field.type, descriptions, place)
            elif field.required:
                yield place, "missing"


def _fits(value: object, expected: object) -> bool:
    try:
        msgspec.convert(value, expected)
    # msgspec raises UnicodeEncodeError for a lone surrogate, unless a text is expected.
    except (msgspec.ValidationError, UnicodeEncodeError, RecursionError):
        return False
    return True


def _strip_annotations(expected: object) -> object:
    """Return a type without `Annotated` and without None."""
    while True:
        arguments = typing.get_args(expected)
        if hasattr(expected, "__metadata__"):
            expected = arguments[0]
        elif NoneType in arguments:
            expected = next(one for one in arguments if one is not NoneType)
        else:
            return expected
