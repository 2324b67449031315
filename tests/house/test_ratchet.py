"""The ratchet holds."""

import pytest

from tests.house.ratchet import LONGEST_FILE_LINES, count, line_counts, recorded


@pytest.mark.timeout(60)
@pytest.mark.no_cover  # takes every file of the tree apart, and reaches nothing that is measured
def test_nothing_the_house_wants_less_of_has_grown() -> None:
    allowed = recorded()
    risen = {name: f"{number} > {allowed[name]}" for name, number in count().items() if number > allowed[name]}

    assert not risen, "lower these, or raise tests/house/ratchet.json and say why in the commit"


def test_no_file_is_too_long_to_be_one_idea() -> None:
    assert {path: lines for path, lines in line_counts().items() if lines > LONGEST_FILE_LINES} == {}
