"""Ports are chosen where no outgoing connection is given one."""

import socket

import pytest

from graft_operator.local import sockets


@pytest.mark.loopback
def test_a_port_is_chosen_that_nobody_listens_on(monkeypatch: pytest.MonkeyPatch) -> None:
    port = sockets.free_port()
    assert port in sockets.CHOSEN_FROM
    with socket.create_server(("127.0.0.1", port)):
        assert not sockets.is_free(port)
        monkeypatch.setattr(sockets, "CHOSEN_FROM", [port])
        monkeypatch.setattr(sockets, "TRIES", 1)
        assert sockets.free_port() != port
    assert sockets.is_free(port)
