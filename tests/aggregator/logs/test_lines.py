"""Log files to lines."""

import io
import itertools
import operator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eida_statistics import compression
from eida_stats_aggregator.logs import lines, records
from eida_stats_aggregator.logs.lines import LineSplitter, find_end_of_run, find_last_run, read_lines


def read(content: bytes) -> list[bytes]:
    return list(read_lines(io.BytesIO(content), "the log"))


def squeeze(texts: list[bytes]) -> list[bytes]:
    """Return lines with one NUL byte for each run, since the splitter may shorten a run."""
    return [records.squeeze(text) for text in texts]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1000])
def test_nul_bytes_fill_no_memory(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 30)
    log = b"a" + bytes(900) + b"b\n" + bytes(900) + b"next" + bytes(900)
    cutter = LineSplitter()
    ended = [line for at in range(0, len(log), chunk) for line in cutter.feed(log[at : at + chunk])]
    assert squeeze(ended) == [b"a\0b"]
    assert squeeze([cutter.rest]) == [b"\0next\0"]
    assert len(cutter.rest) <= 1 + 4 + chunk


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\n", b"")), max_size=20), st.booleans())
@example([b"\0\0"], False)
def test_lines_end_at_line_breaks(given_lines: list[bytes], ended: bool) -> None:
    log = b"\n".join([b"{", *given_lines]) + (b"\n" if ended else b"")
    expected = log.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert squeeze(read(log)) == squeeze(expected)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=8).map(lambda text: text.replace(b"x", b"\n"))))
@example([b"\0", b"\0"])
@example([b"\0\0a", b"\0\n\0", b"\0"])
def test_line_comes_with_its_last_chunk(chunks: list[bytes]) -> None:
    cutter = LineSplitter()
    seen = b""
    for chunk in chunks:
        *before, _ = seen.split(b"\n")
        seen += chunk
        *ended, rest = seen.split(b"\n")
        assert squeeze(cutter.feed(chunk)) == squeeze(ended[len(before) :])
        assert squeeze([cutter.rest]) == squeeze([rest])


@settings(deadline=None)
@given(st.lists(st.sampled_from([b"a", b"b", b"aa", b"", b"ba", b"x" * 9]), max_size=30), st.integers(1, 12))
def test_equal_lines_stay_together(given_lines: list[bytes], chunk: int) -> None:
    log = b"".join(line + b"\n" for line in given_lines) + b"a"
    cutter = LineSplitter(operator.eq)
    texts = [cutter.cut(log[at : at + chunk]) for at in range(0, len(log), chunk)]
    texts = [text for text in (*texts, cutter.held) if text]
    assert b"".join(texts) + cutter.rest == log
    assert all(text.endswith(b"\n") for text in texts)
    for text, following in itertools.pairwise(texts):
        assert text.split(b"\n")[-2] != following.split(b"\n")[0]
    if given_lines:
        assert set(cutter.held.split(b"\n")[:-1]) == {given_lines[-1]}


@pytest.mark.parametrize("line", [b"the same\n", b"\n", b"x" * 50_000 + b"\n", b"x" * 100_000 + b"\n"])
def test_endless_run_fills_no_memory(line: bytes) -> None:
    cutter = LineSplitter(operator.eq)
    texts = []
    for _ in range(30):
        texts.append(cutter.cut(line * 300))
        assert len(cutter.held) <= 64 * (1 << 16)
    assert b"".join(texts) + cutter.held == line * 9000


@pytest.mark.parametrize(
    ("before", "run"), [(b"a\n", b"b\nb\n"), (b"", b"b\nb\n"), (b"bb\n", b"b\n"), (b"a\n", b"\n\n"), (b"", b"")]
)
def test_last_run_of_equal_lines_is_found(before: bytes, run: bytes) -> None:
    assert find_last_run(before + run, 0, len(before + run), operator.eq) == len(before)
    assert find_last_run(b"x\n" + before + run + b"y", 2, 2 + len(before + run), operator.eq) == 2 + len(before)


@pytest.mark.parametrize(
    ("run", "after"), [(b"b\nb\n", b"a\n"), (b"b\n", b"bb\n"), (b"\n\n", b"a"), (b"b\n", b"b"), (b"", b"")]
)
def test_end_of_a_run_is_found(run: bytes, after: bytes) -> None:
    assert find_end_of_run(run + after, 0, operator.eq) == len(run)
    assert find_end_of_run(b"x" + run + after, 1, operator.eq) == 1 + len(run)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_do_not_show_in_the_lines(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "CHUNK_BYTES", chunk)
    assert read(b"a\n\nbcd\nefghijklm\n\nn") == [b"a", b"", b"bcd", b"efghijklm", b"", b"n"]


def test_endless_line_keeps_one_byte_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compression, "CHUNK_BYTES", 4)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    assert read(b"a" * 1000 + b"\nnext\n") == [b"a" * 11, b"next"]


@pytest.mark.parametrize("chunk", [1, 3, 10, 11, 12, 1000])
def test_endless_line_needs_little_memory(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    log = b"a" * 10 + b"\n" + b"b" * 11 + b"\n" + b"c" * 500 + b"\nnext\n" + b"d" * 500
    cutter = LineSplitter()
    ended = [line for at in range(0, len(log), chunk) for line in cutter.feed(log[at : at + chunk])]
    assert [line[:11] for line in ended] == [b"a" * 10, b"b" * 11, b"c" * 11, b"next"]
    assert cutter.rest == b"d" * 11
    assert max(map(len, ended)) <= max(chunk, 11)
