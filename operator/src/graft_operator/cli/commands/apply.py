"""`graft apply` and `graft validate`: files in, objects out; one bad document and nothing changes."""

import click

from graft_core.errors import InvalidInput
from graft_operator.cli.manifests import read_documents
from graft_operator.cli.resources import find_kind
from graft_operator.cli.session import Session, connected

__all__ = ["apply", "validate"]

_FILES = click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    help="File, folder or - (stdin); may be repeated.",
)


@click.command(
    epilog="""\b
Examples:
  graft apply -f job.yaml
  graft apply -f examples/01-classify-messages
  cat job.yaml | graft apply -f -
  graft apply -f job.yaml --dry-run"""
)
@_FILES
@click.option("--dry-run", is_flag=True, help="Say what would happen; change nothing.")
@connected
def apply(session: Session, *, paths: tuple[str, ...], dry_run: bool) -> None:
    """Create or change objects from files. All documents are checked first: one that is refused means that nothing changes.

    A relative URI such as file:./data/train.jsonl is taken from the folder of the file that names it.
    """
    documents = read_documents(paths)
    results = session.apply([d.body for d in documents], dry_run=dry_run)
    for result in results:
        plural = find_kind(result["kind"]).plural
        click.echo(f"{plural}.graft.dev/{result['name']} {result['result']}{' (dry run)' if dry_run else ''}")


@click.command(
    epilog="""\b
Examples:
  graft validate -f job.yaml"""
)
@_FILES
def validate(paths: tuple[str, ...]) -> None:
    """Check files against the API (schema and CEL rules) without a running `graft up`. Lists every fault; exit code 1 if there is one."""
    from graft_core.api.validation import validate_object  # compiling the schema is only paid for here

    documents = read_documents(paths)
    faults = [f"{d.origin}: {d.label}: {fault}" for d in documents for fault in validate_object(d.body)]
    if faults:
        raise InvalidInput("\n".join(faults))
    for document in documents:
        click.echo(f"{document.origin}: {document.label} is valid")
