"""Errors say what to do by their class, and where by their path."""

from graft_core.errors import (
    Conflict,
    Corrupt,
    Forbidden,
    GraftError,
    InvalidInput,
    NotReady,
    NotSupported,
    Unavailable,
)


def test_a_class_is_a_reaction_with_a_reason() -> None:
    assert [
        kind.reason for kind in (InvalidInput, NotSupported, NotReady, Conflict, Corrupt, Unavailable, Forbidden)
    ] == [
        "InvalidInput",
        "NotSupported",
        "NotReady",
        "Conflict",
        "Corrupt",
        "Unavailable",
        "Forbidden",
    ]
    assert issubclass(NotSupported, InvalidInput)
    assert issubclass(Forbidden, Unavailable)
    assert all(issubclass(kind, GraftError) for kind in (InvalidInput, NotReady, Conflict, Corrupt, Unavailable))


def test_details_travel_beside_the_message() -> None:
    assert InvalidInput("x", path="spec.a").path == "spec.a"
    assert InvalidInput("x", reason="DatasetChanged").reason == "DatasetChanged"
    assert NotReady("later", retry_after_s=3).retry_after_s == 3
