import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_trainer.data import screen, values
from graft_trainer.data.screen import neighbours, occurs


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "CHUNK", 7)
    monkeypatch.setattr(screen, "_SMALL", 0)
    monkeypatch.setattr(values, "_LONG", 20)


@pytest.mark.timeout(20)
@given(st.text("hf_:", max_size=60), st.integers(0, 2))
def test_a_needle_occurs_where_it_is(text: str, rare: int) -> None:
    data = text.encode()
    assert occurs(b"hf_", data, rare=rare) == (b"hf_" in data)
    assert neighbours(b":", data) == {data[i] for i in range(len(data) - 1) if data[i + 1] == ord(":")}


@pytest.mark.timeout(20)
@given(st.text('a" \t\n:', max_size=60))
def test_a_spaced_key_is_found_in_any_amount_of_text(text: str) -> None:
    data = text.encode()
    assert values.has_spaced_key(data) == (values._SPACED_COLON.search(data) is not None)
