"""Laws of joining spans."""

import datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eida_stats_webservice.archive.availability.merging import (
    join_continuing,
    join_overlapping,
    join_spans,
    make_extents,
)
from eida_stats_webservice.archive.availability.models import (
    AvailabilityQuery,
    Channel,
    Selection,
    Span,
    Time,
    format_time,
)

NONE = datetime.timedelta()
BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
CHANNEL = Channel("GE", "APE", "", "BHZ")


def seconds(number: float) -> datetime.timedelta:
    return datetime.timedelta(seconds=number)


def after(number: float) -> Time:
    return format_time(BEGIN + seconds(number))


def parse(time: Time) -> datetime.datetime:
    return datetime.datetime.fromisoformat(time)


def make_span(start: float, end: float, rate: float = 0.0, quality: str = "D") -> Span:
    return Span(CHANNEL, quality, rate, after(start), after(end), None, is_restricted=False)


@st.composite
def make_any_span(draw: st.DrawFn, rates: tuple[float, ...] = (0.0, 1.0, 0.1)) -> Span:
    start = draw(st.integers(0, 60)) / 2
    end = start + draw(st.integers(0, 20)) / 2
    updated = draw(st.none() | st.integers(0, 5).map(after))
    span = make_span(start, end, draw(st.sampled_from(rates)), draw(st.sampled_from("DM")))
    return span._replace(updated=updated, is_restricted=draw(st.booleans()))


ANY = st.lists(make_any_span(), max_size=12)
WITHOUT_RATE = st.lists(make_any_span(rates=(0.0,)), max_size=12)
MERGES = st.frozensets(st.sampled_from(["quality", "samplerate", "overlap"]))
GAPS = st.sampled_from([0, 0.5, 1, 3, 1000]).map(seconds)


def count_quarters(time: Time) -> int:
    return int((parse(time) - BEGIN) / seconds(0.25))


def cover(spans: list[Span]) -> set[int]:
    """Return the half seconds that spans cover; half ones, so that a gap between two of them shows."""
    return {number for span in spans for number in range(count_quarters(span.start), count_quarters(span.end) + 1)}


def make_query(merge: frozenset[str], gap: datetime.timedelta) -> AvailabilityQuery:
    return AvailabilityQuery(is_extent=False, selections=(Selection(),), merge=merge, gap=gap)


def find_longest_tolerance(spans: list[Span], gap: datetime.timedelta) -> datetime.timedelta:
    return max([gap, *(seconds(1.5 / span.rate) for span in spans if span.rate)])


@given(WITHOUT_RATE)
def test_joined_spans_cover_the_same_time(spans: list[Span]) -> None:
    assert cover(join_overlapping(spans, NONE)) == cover(spans)
    assert cover(join_continuing(spans, NONE)) == cover(spans)


@given(ANY, MERGES, GAPS)
def test_joined_spans_add_only_gaps(spans: list[Span], merge: frozenset[str], gap: datetime.timedelta) -> None:
    joined = join_spans(spans, make_query(merge, gap))
    assert cover(joined) >= cover(spans)
    for number in cover(joined) - cover(spans):
        time = after(number / 4)
        before = max(span.end for span in spans if span.end <= time)
        next_start = min(span.start for span in spans if span.start >= time)
        assert parse(next_start) - parse(before) <= find_longest_tolerance(spans, gap)
    # Ends are those of spans, and none is lost.
    assert {span.start for span in joined} <= {span.start for span in spans}
    assert {span.end for span in joined} <= {span.end for span in spans}
    assert max((span.end for span in joined), default=None) == max((span.end for span in spans), default=None)


@given(ANY, GAPS)
def test_no_overlap_and_no_small_gap_remains(spans: list[Span], gap: datetime.timedelta) -> None:
    joined = join_overlapping(spans, gap)
    assert all(parse(other.start) - parse(one.end) > gap for one, other in pairwise(joined))


@given(ANY, GAPS)
def test_overlaps_stay_without_merge(spans: list[Span], gap: datetime.timedelta) -> None:
    joined = join_continuing(spans, gap)
    # As many spans are at a moment as before, but where gaps were closed.
    for span in spans:
        middle = format_time(parse(span.start) + (parse(span.end) - parse(span.start)) / 2)
        at_once = [one for one in spans if one.start <= middle <= one.end]
        assert len([one for one in joined if one.start <= middle <= one.end]) >= len(at_once)


@given(ANY, MERGES, GAPS, st.randoms())
def test_order_of_spans_does_not_matter(
    spans: list[Span], merge: frozenset[str], gap: datetime.timedelta, random: st.DataObject
) -> None:
    query = make_query(merge, gap)
    shuffled = list(spans)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # it is a Random
    assert sorted(join_spans(shuffled, query), key=repr) == sorted(join_spans(spans, query), key=repr)


@given(ANY, MERGES, GAPS)
def test_joining_again_changes_nothing(spans: list[Span], merge: frozenset[str], gap: datetime.timedelta) -> None:
    query = make_query(merge | {"overlap"}, gap)
    joined = join_spans(spans, query)
    if "samplerate" not in merge:
        assert join_spans(joined, query) == joined


@given(ANY, MERGES, GAPS)
def test_extents_enclose_their_spans(spans: list[Span], merge: frozenset[str], gap: datetime.timedelta) -> None:
    joined = join_spans(spans, make_query(merge, gap))
    extents = make_extents(joined)
    keys = {(span.quality, span.rate, span.is_restricted) for span in joined}
    assert len(extents) == len(keys)
    assert sum(extent.spans for extent in extents) == len(joined)
    newest = max((span.updated for span in spans if span.updated is not None), default=None)
    assert max((one.updated for one in extents if one.updated is not None), default=None) == newest
    for extent in extents:
        key = (extent.quality, extent.rate, extent.is_restricted)
        own = [span for span in joined if (span.quality, span.rate, span.is_restricted) == key]
        assert (extent.start, extent.end) == (min(span.start for span in own), max(span.end for span in own))


def test_span_continues_within_half_a_period() -> None:
    one = make_span(0, 10, rate=1.0)
    for start, count in ((10.4, 2), (10.5, 1), (11, 1), (11.5, 1), (11.6, 2)):
        assert len(join_continuing([one, make_span(start, 20, rate=1.0)], NONE)) == count
    # Two archives with the same data stay two.
    copies = [one, make_span(11, 20, rate=1.0)] * 2
    assert [(span.start, span.end) for span in join_continuing(copies, NONE)] == [(after(0), after(20))] * 2
    assert len(join_overlapping(copies, NONE)) == 1


def test_nothing_continues_without_a_rate() -> None:
    spans = [make_span(0, 10), make_span(10, 20), make_span(20.5, 30)]
    assert len(join_continuing(spans, NONE)) == 3
    assert len(join_continuing(spans, seconds(0.5))) == 2
    assert len(join_overlapping(spans, NONE)) == 2


def test_extreme_values_are_joined() -> None:
    last = format_time(datetime.datetime.max.replace(tzinfo=datetime.UTC))
    spans = [make_span(0, 1, rate=1e-300), make_span(2, 3, rate=1e-300)._replace(end=last)]
    assert len(join_continuing(spans, NONE)) == 2
    assert len(join_overlapping(spans, NONE)) == 1
