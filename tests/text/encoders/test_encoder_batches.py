"""Batches hold every text once, no more tokens than asked for, and equal lengths give equal batches."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lvm_lab.text.batches import cut, distinct

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


@given(LENGTHS, st.integers(1, 200))
def test_every_text_is_in_one_batch_that_holds_no_more_than_it_may(lengths: list[int], budget: int) -> None:
    batches = cut(lengths, budget)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[place] for place in batch)
        assert longest == lengths[batch[0]]
        assert len(batch) == 1 or longest * len(batch) <= budget
    assert cut(lengths, budget) == batches


@given(LENGTHS, st.integers(40, 200))
def test_no_two_neighbours_would_have_gone_into_one(lengths: list[int], budget: int) -> None:
    batches = cut(lengths, budget)
    for one, other in itertools.pairwise(batches):
        assert lengths[one[0]] * (len(one) + 1) > budget
        assert lengths[one[-1]] >= lengths[other[0]]


@given(st.lists(st.sampled_from("abcde"), max_size=30))
def test_distinct_texts_come_back_in_their_places(texts: list[str]) -> None:
    unique, places_N = distinct(texts)
    assert len(set(unique)) == len(unique)
    assert [unique[place] for place in places_N] == texts
