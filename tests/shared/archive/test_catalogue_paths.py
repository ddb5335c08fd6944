"""Tests of paths in a catalogue, and of their hashes."""

import pytest

from eida_statistics.archive.errors import InvalidPath
from eida_statistics.archive.paths import hash_parents, hash_path, is_normal, is_within, normalise_path


def test_hashes_are_those_of_gsky() -> None:
    assert hash_path("/g/data3/lb4") == "3e1a4cf9-f0ec-945c-1697-5fcc76f556c0"
    assert hash_parents("/g/data3/lb4") == (
        "399ab314-4e5e-e928-7ec4-94b96feb2d3f",
        "8b33eb94-a838-49ce-1b58-d6f556f0a588",
    )


def test_parents_are_the_hashes_of_their_paths() -> None:
    assert hash_parents("/à/b/c/d") == (hash_path("/à"), hash_path("/à/b"), hash_path("/à/b/c"))
    assert hash_parents("/a") == hash_parents("/") == ()


def test_deep_path_has_parents() -> None:
    assert len(hash_parents("/a" * 2048)) == 2047


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("/u39", "/u39", True),
        ("/u39/x", "/u39", True),
        ("/u390/x", "/u39", False),
        ("/u3", "/u39", False),
        ("/x", "/", True),
        ("/", "/x", False),
    ],
)
def test_within_is_decided_at_slashes(path: str, directory: str, expected: bool) -> None:
    assert is_within(path, directory) is expected


@pytest.mark.parametrize(
    ("path", "expected"), [("/a/b", "/a/b"), ("//a/./b//", "/a/b"), ("/", "/"), ("/..a/.b", "/..a/.b")]
)
def test_path_is_normalised(path: str, expected: str) -> None:
    assert normalise_path(path) == expected
    assert is_normal(expected)
    assert is_normal(path) is (path == expected)


@pytest.mark.parametrize("path", ["", "a/b", "/a/../b", "/a\0b", "/" + "a" * 20_000, "/\ud800"])
def test_path_without_normal_form_is_refused(path: str) -> None:
    assert not is_normal(path)
    with pytest.raises(InvalidPath):
        normalise_path(path)
