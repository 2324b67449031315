"""Text comes out in whole characters, and never past a stop text."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft_predictor.engines.decoding import IncrementalText, StopScanner


def decode_bytes(ids: Sequence[int]) -> str:
    """A tokenizer of single bytes: the hardest there is."""
    return bytes(ids).decode(errors="replace")


@settings(max_examples=40)
@given(st.text(alphabet="aắé€🙂\n", max_size=12))
def test_bytes_of_any_text_come_out_as_that_text(text: str) -> None:
    incremental = IncrementalText(decode_bytes)

    pieces = [incremental.push(byte) for byte in text.encode()]

    assert "".join(pieces) + incremental.flush() == text


def test_no_half_character_is_given_out_before_the_end() -> None:
    incremental = IncrementalText(decode_bytes)

    pieces = [incremental.push(byte) for byte in "ắ".encode()]

    assert pieces == ["", "", "ắ"]


def test_what_ends_in_half_a_character_says_so_at_the_end() -> None:
    incremental = IncrementalText(decode_bytes)
    incremental.push("ắ".encode()[0])

    assert incremental.flush() == "\ufffd"


@settings(max_examples=60)
@given(st.text(alphabet="ab\n", max_size=30), st.lists(st.text(alphabet="ab\n", min_size=1, max_size=3), max_size=3))
def test_a_stream_is_cut_where_the_whole_text_would_be(text: str, stops: list[str]) -> None:
    scanner = StopScanner(stops)
    out = "".join(scanner.push(char) for char in text) + scanner.flush()

    # Whichever stop text is complete first ends the stream.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert out == text
        assert not scanner.is_stopped
    else:
        assert scanner.is_stopped
        assert text.startswith(out)
        assert not any(stop in out for stop in stops)


@pytest.mark.parametrize(
    ("pieces", "given_out"),
    [(["a", "b", "END"], ["a", "b", ""]), (["aE", "N", "x"], ["a", "", "ENx"]), (["aE", "ND", "b"], ["a", "", ""])],
)
def test_a_possible_beginning_of_a_stop_text_is_held_back(pieces: list[str], given_out: list[str]) -> None:
    scanner = StopScanner(["END"])

    assert [scanner.push(piece) for piece in pieces] == given_out
