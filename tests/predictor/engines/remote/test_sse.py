"""Events come out whole, wherever the network cut the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft_predictor.engines.remote.sse import EventParser


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b": keep-alive\n\n: again\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data\n\n", []),
        (b"data:\n\n", []),
        (b"\n\n\n", []),
        (b"data: a\n\ndata: cut off", [b"a"]),
        (b"data: cut off\n", []),
        ('data: {"t":"ắ🙂"}\n\n'.encode(), ['{"t":"ắ🙂"}'.encode()]),
    ],
)
def test_a_stream_has_these_events(stream: bytes, events: list[bytes]) -> None:
    assert EventParser().feed(stream) == events
    parser = EventParser()
    assert [event for i in range(len(stream)) for event in parser.feed(stream[i : i + 1])] == events


@given(st.lists(st.text(alphabet='aắ🙂:{}" ', min_size=1, max_size=8), max_size=5), st.data())
def test_cuts_change_nothing(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parser = EventParser()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert [event for piece in pieces for event in parser.feed(piece)] == [text.encode() for text in texts]


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 20, b"data: xxxx\n" * 5, b": " + b"x" * 20])
def test_an_event_without_end_is_refused(stream: bytes) -> None:
    parser = EventParser(16)

    with pytest.raises(ValueError, match="over 16 bytes"):
        parser.feed(stream)
