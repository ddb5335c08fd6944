"""Tests of the lines of paths, and of their digests."""

import pytest

from eida_stats_webservice.archive.path_lines import digest_path, group_lines, hash_raw, select_lines

LINES = [b"/a\tposix\t{}", b"/a\tmseed\t{}", b"/ab\tposix\t{}", b"/a\tposix\t{}", b"no tab", b""]


def test_lines_of_a_path_that_follow_each_other_are_one_group() -> None:
    groups = list(group_lines(enumerate(LINES, 2)))
    assert [(group.first, group.path, len(group.lines)) for group in groups] == [
        (2, b"/a", 2),
        (4, b"/ab", 1),
        (5, b"/a", 1),
        (6, b"no tab", 1),
        (7, b"", 1),
    ]
    assert groups[0].types == [b"posix", b"mseed"]


def test_many_lines_of_a_path_are_several_groups() -> None:
    groups = group_lines((number, b"/a\tposix\t{}") for number in range(1, 1502))
    assert [(group.first, len(group.lines)) for group in groups] == [(1, 1000), (1001, 501)]


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"atime":1420070400,"mtime":1}', True),
        (b'posix\t{"size":1,"atime":5}', b'posix\t{"size":1,"atime":16}', True),
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"atime":5,"mtime":2}', False),
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"mtime":1}', False),
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"atime":05,"mtime":1}', False),
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"atime":99999999999999,"mtime":1}', False),
        (b'posix\t{"size":1,"atime":5,"mtime":1}', b'posix\t{"size":1,"atime":"5","mtime":1}', False),
        (b'posix\t{"user":"x,\\\\"atime\\\\":5,"}', b'posix\t{"user":"x,\\\\"atime\\\\":6,"}', False),
        (b'magic\t{"a":1,"atime":5,"b":1}', b'magic\t{"a":1,"atime":6,"b":1}', False),
    ],
)
def test_digest_does_not_depend_on_a_valid_time_of_access(before: bytes, after: bytes, is_same: bool) -> None:
    digests = [digest_path(next(group_lines([(1, b"/a\t" + line)]))) for line in (before, after)]
    assert (digests[0] == digests[1]) == is_same


def test_only_lines_in_ranges_are_selected() -> None:
    lines = enumerate(LINES, 1)
    assert [number for number, _ in select_lines(lines, [(2, 3), (5, 5)])] == [2, 3, 5]
    assert next(lines, None) is None


def test_path_that_cannot_be_read_has_the_hash_of_none() -> None:
    assert hash_raw(rb"/a\\b") not in (hash_raw(rb"/a\b"), hash_raw(b"/a"))
    assert hash_raw(rb"/a\b") == hash_raw(b"/\xff") == "00000000-0000-0000-0000-000000000000"
