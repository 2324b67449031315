"""The command as a whole: help, examples, exit codes, completion, and what it must not import."""

import json
import os
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from graft_operator.cli import app
from graft_operator.cli.app import COMMANDS, graft
from graft_operator.local.client import Client
from tests.operator.cli.conftest import Graft
from tests.operator.cli.served import Served, a_job, a_release


@pytest.mark.timeout(10)  # imports every command
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(graft: Graft, name: str) -> None:
    ran = graft(name, "--help")

    assert ran.code == 0
    assert f"Usage: graft {name}" in ran.out
    assert "Examples:\n" in ran.out
    assert f"graft {name} " in ran.out.split("Examples:\n")[1]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name: str) -> None:
    command = graft.get_command(click.Context(graft), name)

    assert command is not None
    assert [p.name for p in command.params if isinstance(p, click.Option) and not p.help] == []
    assert command.help


def test_the_help_lists_every_command_in_order(graft: Graft) -> None:
    ran = graft("--help")

    lines = ran.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert listed == list(COMMANDS)
    assert "graft demo" in ran.out.partition("Examples:\n")[2]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["gte"], 2, "No such command 'gte'. Did you mean 'get'?"),
        (["xyzzy"], 2, "No such command 'xyzzy'.\n"),
        (["get", "--help"], 0, ""),
        (["wait", "ftj/x"], 2, "Missing option '--for'"),
        (["completion", "tcsh"], 2, "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_exit_codes_and_hints(graft: Graft, words: list[str], code: int, told: str) -> None:
    ran = graft(*words)

    assert ran.code == code
    assert told in ran.err


def test_without_words_the_help_is_printed(graft: Graft) -> None:
    ran = graft()

    assert "Usage: graft [OPTIONS] COMMAND" in ran.out + ran.err
    assert ran.code == 2


def test_ctrl_c_is_exit_code_130(graft: Graft, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "call", interrupt)

    ran = graft("get", "ftj", state=served.state)

    assert (ran.code, ran.out, ran.err) == (130, "", "\n")


@pytest.mark.parametrize(("program", "shown"), [("graft", "graft"), ("kubectl-graft", "kubectl graft"), ("", "graft")])
def test_the_process_is_called_as_it_was_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "wait", "--help"])

    with pytest.raises(SystemExit) as ended:
        app.main()

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: {shown} wait ")


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-c", "from graft_operator.cli import main; main()", "--help"],
        stdout=write,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(write)
        _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (1, b"")


HEAVY = {"aiohttp", "asyncio", "pydantic", "rich", "sqlite3", "yaml", "importlib.metadata"}
"""Modules that cost tens of milliseconds each."""


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set[str]()),
        (["get", "--help"], set[str]()),
        (["wait", "--help"], set[str]()),
        (["apply", "--help"], {"yaml"}),
        (["up", "--help"], set[str]()),
    ],
)
@pytest.mark.timeout(20)  # a fresh interpreter
def test_help_and_get_import_nothing_heavy(words: list[str], allowed: set[str]) -> None:
    code = (
        "import sys, json; before = set(sys.modules); from graft_operator.cli.app import run; run(sys.argv[1:]);"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)

    assert HEAVY & set(json.loads(ended.stdout.splitlines()[-1])) <= allowed


@pytest.fixture
def stocked(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A state folder with objects to be offered, named by the environment."""
    monkeypatch.setenv("GRAFT_STATE", str(served.state))
    served.add(a_job("texts"), a_job("tweets"), a_release("shop"))
    return served


def offered(*words: str) -> list[str]:
    """What the shell is offered for the last word."""
    return [
        item.value
        for item in ShellComplete(graft, {}, "graft", "_GRAFT_COMPLETE").get_completions(list(words[:-1]), words[-1])
    ]


@pytest.mark.usefixtures("stocked")
@pytest.mark.parametrize(
    ("words", "items"),
    [
        (["de"], ["demo", "describe", "delete"]),
        (["get", "f"], ["ftj", "finetunejobs", "ftj/"]),
        (["get", "ftj", ""], ["texts", "tweets"]),
        (["get", "ftj", "tw"], ["tweets"]),
        (["get", "ftj/te"], ["ftj/texts"]),
        (["describe", "ftj/texts", "mr"], ["mr/shop"]),
        (["get", "pods", ""], []),
        (["get", "pods/"], []),
        (["promote", ""], ["mr/shop"]),
        (["get", "-o", "js"], ["json", "jsonpath="]),
        (["wait", "mr/shop", "--for", "c"], ["condition=Ready", "condition=Released"]),
        (["wait", "--for", "condition=C"], ["condition=Complete"]),
        (["completion", "z"], ["zsh"]),
        (["get", "-n", "ml", "ftj", ""], []),
        (["--he"], ["--help"]),
    ],
)
def test_the_shell_is_offered(words: list[str], items: list[str]) -> None:
    assert offered(*words) == items


def test_the_shell_is_offered_no_names_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_STATE", "/nowhere")

    assert offered("get", "ftj", "") == []
    assert offered("get", "mr/") == []


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef graft"), ("fish", "complete --")]
)
@pytest.mark.timeout(10)  # bash is asked for its version
def test_a_completion_script_is_printed(graft: Graft, shell: str, word: str) -> None:
    ran = graft("completion", shell)

    assert ran.code == 0
    assert word in ran.out
    assert "_GRAFT_COMPLETE" in ran.out
