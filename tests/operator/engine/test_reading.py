"""Merge patches that make one object of another."""

from hypothesis import given
from hypothesis import strategies as st

from graft_operator.engine.reading import diff_merge
from graft_operator.ports import Json
from tests.fakes.merging import merge_patch

# A merge patch cannot say null, and neither can a status: what is not there is left out.
LEAVES = st.one_of(st.integers(0, 3), st.text("ab", max_size=2), st.lists(st.integers(0, 2), max_size=2))
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)


@given(old=OBJECTS, new=OBJECTS)
def test_the_patch_makes_the_new_of_the_old_and_is_empty_for_the_same(old: Json, new: Json) -> None:
    assert merge_patch(old, diff_merge(old, new)) == new
    assert diff_merge(new, new) == {}


def test_only_what_differs_is_sent() -> None:
    old = {"phase": "Pending", "progress": {"step": 1, "total": 9}, "gone": 1}
    new = {"phase": "Pending", "progress": {"step": 2, "total": 9}}
    assert diff_merge(old, new) == {"progress": {"step": 2}, "gone": None}
