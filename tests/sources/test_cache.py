from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kronos.sources.cache import clip, subtract, union

POINTS = st.integers(0, 40)
SPANS = st.lists(st.tuples(POINTS, POINTS), max_size=8)


def cells(spans):
    return {point for start, end in spans for point in range(start, end)}


@given(SPANS, st.tuples(POINTS, POINTS))
def test_spans_behave_like_sets_of_points(given_spans, requested):
    known = ()
    for span in given_spans:
        known = union(known, span)
    assert cells(known) == cells(given_spans)
    assert all(a < b for a, b in known)
    assert all(first[1] < second[0] for first, second in pairwise(known))
    gaps = subtract(known, requested)
    assert cells(gaps) == cells([requested]) - cells(known)
    assert all(a < b for a, b in gaps)
    assert cells(clip(known, requested[0])) == {point for point in cells(known) if point < requested[0]}
    assert all(a < b for a, b in clip(known, requested[0]))
