"""spec.engine.args of the in-process engine."""

import pytest

from graft_core.errors import InvalidInput
from graft_predictor.engines.args import EngineArgs, parse_engine_args


def test_without_arguments_the_defaults_hold() -> None:
    assert parse_engine_args(()) == EngineArgs(num_beams=1, max_new_tokens=512, dtype="float32")


def test_all_arguments_are_read() -> None:
    read = parse_engine_args(("--num-beams=4", "--max-new-tokens=64", "--dtype=bfloat16"))

    assert read == EngineArgs(num_beams=4, max_new_tokens=64, dtype="bfloat16")


@pytest.mark.parametrize(
    ("arg", "told"),
    [
        ("--num-beams=0", "not an integer in 1..64"),
        ("--num-beams=1e3", "not an integer in 1..64"),
        ("--max-new-tokens=-1", "not an integer in 1..1000000"),
        ("--dtype=int8", "not one of float32, bfloat16"),
        ("--trust-remote-code=true", "is not an argument of this engine"),
        ("num-beams=2", "is not an argument of this engine"),
        ("--num-beams", "is not an argument of this engine"),
    ],
)
def test_a_bad_argument_is_refused_by_place(arg: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as caught:
        parse_engine_args(("--num-beams=2", arg) if "beams" not in arg else (arg,))

    assert caught.value.path.startswith("engine.args[")


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"engine.args\[1\]: --num-beams is given twice"):
        parse_engine_args(("--num-beams=2", "--num-beams=3"))
