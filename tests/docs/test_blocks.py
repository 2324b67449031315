import ast
import re
import shlex

import click
import pytest
import yaml

from graft_core.api.validation import validate_object
from graft_operator.cli.app import graft
from tests.docs.pages import Block, blocks
from tests.house import ROOT

KINDS = ("FineTuneJob", "ModelRelease")
QUICKSTART = ROOT / "docs" / "user" / "quickstart.md"


def _in(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


@pytest.mark.parametrize("block", _in("yaml"), ids=lambda block: block.where)
def test_every_object_on_a_page_would_be_let_in(block: Block) -> None:
    for document in yaml.safe_load_all(block.body):
        if isinstance(document, dict) and document.get("kind") in KINDS:
            absolute = yaml.safe_load(yaml.safe_dump(document).replace("file:./", "file:///data/"))
            assert [f"{fault.path}: {fault.message}" for fault in validate_object(absolute)] == []


@pytest.mark.parametrize("block", _in("python"), ids=lambda block: block.where)
def test_every_python_block_compiles(block: Block) -> None:
    ast.parse(block.body)


def _commands(block: Block) -> list[list[str]]:
    joined = re.sub(r"\\\n\s*", " ", block.body)
    found: list[list[str]] = []
    for line in joined.splitlines():
        for part in re.split(r"[|;]|&&|\$\(|\)\"", re.sub(r"\s#\s.*", "", line)):
            words = (
                shlex.split(part.partition(">")[0]) if part.strip().startswith(("graft ", ".venv/bin/graft ")) else []
            )
            if words:
                found.append(words[1:])
    return found


@pytest.mark.parametrize("block", _in("sh", "bash"), ids=lambda block: block.where)
def test_every_graft_command_on_a_page_parses(block: Block) -> None:
    for words in _commands(block):
        context = click.Context(graft, info_name="graft")
        name, command, rest = graft.resolve_command(context, words)
        assert command is not None
        command.make_context(name, list(rest), parent=context, resilient_parsing=False)


def test_the_quickstart_is_ten_lines_for_each_kind() -> None:
    by_name = {block.name: block for block in blocks() if block.page == QUICKSTART and block.name}
    for name in ("finetunejob.yaml", "modelrelease.yaml"):
        assert len(by_name[name].body.splitlines()) == 10
    assert {"install", "up", "texts.csv", "apply", "ask", "ask.py"} <= set(by_name)
