"""The newest progress, asked for over HTTP."""

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from graft_trainer.run.progress_server import serve_progress

pytestmark = pytest.mark.loopback


def test_the_newest_line_is_told() -> None:
    lines = ['{"at":"1"}', '{"at":"2"}']
    with serve_progress(lambda: lines.pop(0), port=0) as port:
        for expected in (b'{"at":"1"}', b'{"at":"2"}'):
            with urlopen(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
                assert answer.read() == expected
                assert answer.headers["Server"] == "graft"


def test_before_there_is_one_there_is_no_content() -> None:
    with serve_progress(str, port=0) as port, urlopen(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
        assert (answer.status, answer.read()) == (204, b"")


@pytest.mark.parametrize("path", ["/", "/progress/../etc", "/progress?x=1"])
def test_nothing_else_is_there(path: str) -> None:
    with serve_progress(str, port=0) as port, pytest.raises(HTTPError, match="404") as refused:
        urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)
    refused.value.close()
