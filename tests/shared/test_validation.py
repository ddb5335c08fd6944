"""Reasons why a value does not have the expected type."""

import datetime
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from eida_statistics.validation import explain_first, find_faults


class Part(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z]{1,3}\Z")]
    size: Annotated[int, Meta(ge=0)] | None = None


class Whole(msgspec.Struct):
    day: datetime.date
    parts: Annotated[list[Part], Meta(min_length=1)] = msgspec.field(name="part")
    share: float = 0.0
    more: Part | None = None
    texts: dict[str, str] = {}


EXPECTED = {"day": "a day, YYYY-MM-DD", "name": "up to 3 small letters"}
GOOD: dict[str, Any] = {"day": "2020-11-02", "part": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({}, []),
        ({"other": 1, "share": 1, "more": None}, []),
        ({"day": "2 November"}, [("day", "not a day, YYYY-MM-DD")]),
        ({"part": []}, [("part", "not a list")]),
        ({"part": "a"}, [("part", "not a list")]),
        ({"part": ["a", {"name": "a"}, 3]}, [("part[0]", "not an object"), ("part[2]", "not an object")]),
        (
            {"part": [{}, {"name": "A"}]},
            [("part[0].name", "missing"), ("part[1].name", "not up to 3 small letters")],
        ),
        ({"more": {"name": "a", "size": -1}}, [("more.size", "not an integer")]),
        (
            {"more": {"name": "a", "size": "1", "color": 1}},
            [("more.color", "unknown"), ("more.size", "not an integer")],
        ),
        (
            {"more": {"name": "a", "size": "\udcff"}, "share": "\udcff"},
            [("share", "not a number"), ("more.size", "not an integer")],
        ),
        ({"share": "half", "texts": {"a": 1}}, [("share", "not a number"), ("texts", "not an object")]),
    ],
)
def test_each_bad_field_is_named(changes: dict[str, Any], faults: list[tuple[str, str]]) -> None:
    assert list(find_faults(GOOD | changes, Whole, EXPECTED)) == faults


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_whole_value_has_no_path(value: object) -> None:
    assert list(find_faults(value, Whole)) == [("$", "not an object")]
    assert explain_first(value, Whole) == "not an object"


def test_first_fault_is_one_text() -> None:
    assert explain_first({"part": 3}, Whole, EXPECTED) == "day: missing"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "secret", "2020-11-02", "\udcff"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["day", "part", "name", "size", "more", "share"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(value=values)
def test_faults_are_found_where_msgspec_objects(value: object) -> None:
    try:
        msgspec.convert(value, Whole)
        is_valid = True
    except (msgspec.ValidationError, UnicodeEncodeError):
        is_valid = False
    faults = list(find_faults(value, Whole))
    assert (not faults) is is_valid
    assert "secret" not in str(faults)
