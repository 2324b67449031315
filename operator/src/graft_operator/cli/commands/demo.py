"""`graft demo`."""

import sys
from pathlib import Path

import click

__all__ = ["demo"]


@click.command(
    epilog="""\b
Examples:
  graft demo
  graft demo --json story.json
  graft demo --keep --port 8080     leave the services running at the end"""
)
@click.option(
    "--state",
    default=".graft/demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="State folder; emptied first.",
)
@click.option("--port", default=8088, show_default=True, type=click.IntRange(1, 65535), help="Port of the gateway.")
@click.option(
    "--examples",
    default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the examples; default the checkout's.",
)
@click.option(
    "--json",
    "json_file",
    default=None,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the whole story to this file.",
)
@click.option("--plain", is_flag=True, help="Print a log even on a terminal.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end until Ctrl-C.")
def demo(*, state: Path, port: int, examples: Path | None, json_file: Path | None, plain: bool, keep: bool) -> None:
    """Watch the whole story: train, prove, release, refuse, roll back. Five to six minutes on two cores.

    Exit code 0 only if each act ended as it must.
    """
    from graft_operator.demo.run import DemoOptions, find_examples, run_demo

    found = (examples or find_examples()).resolve()
    # The base model lies where the language example's manifest looks for it: file:./.cache/base.
    cache = found / "02-shop-query-json" / ".cache" / "base"
    options = DemoOptions(
        state=state.resolve(), port=port, examples=found, cache=cache, json_file=json_file, plain=plain, keep=keep
    )
    sys.exit(run_demo(options))
