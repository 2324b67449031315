"""`graft apply` and `graft validate`: files in, objects out; one bad document and nothing changes."""

from collections.abc import Iterable, Iterator

import click

from graft_core.errors import GraftError
from graft_operator.cli.connection import connected
from graft_operator.cli.session import Session
from graft_operator.local.faults import Invalid
from graft_operator.local.fields import text
from graft_operator.local.manifests import Document, Manifests, read_manifests, refuse
from graft_operator.local.resources import Target, find_kind

__all__ = ["apply", "faults_by_file", "in_one_namespace", "submit", "validate"]

_FILES = click.option(
    "-f",
    "--filename",
    "paths",
    multiple=True,
    required=True,
    metavar="PATH",
    type=click.Path(allow_dash=True),
    help="File, folder or - (stdin); may be repeated.",
)


@click.command(
    epilog="""\b
Examples:
  graft apply -f job.yaml
  graft apply -f examples/01-classify-messages
  cat job.yaml | graft apply -f -
  graft apply -f job.yaml --dry-run
  graft apply -f job.yaml --context staging -n ml    on a cluster"""
)
@_FILES
@click.option(
    "--dry-run",
    "dry_run",
    is_flag=False,
    flag_value="server",
    default="none",
    type=click.Choice(["none", "client", "server"]),
    metavar="[=server|client]",
    help="Change nothing: ask the server what would happen, or (client) only check the files here.",
)
@click.option("--force-conflicts", is_flag=True, help="On a cluster: take over fields that others manage.")
@connected
def apply(session: Session, *, paths: tuple[str, ...], dry_run: str, force_conflicts: bool) -> None:
    """Create or change objects from files. All documents are checked first: one that is refused means that nothing changes.

    A relative URI such as file:./data/train.jsonl is taken from the folder of the file that names it. On a cluster this is a server-side
    apply by the field manager graft-cli.
    """
    if dry_run == "client":
        for document in _checked_here(paths):
            click.echo(f"{document.target.resource} is valid (client dry run)")
    else:
        submit(session, paths, dry_run=dry_run == "server", force=force_conflicts)


def submit(session: Session, paths: Iterable[str], *, dry_run: bool = False, force: bool = False) -> None:
    """Apply files, telling what became of each object.

    Args:
        session: Where to.
        paths: Files, folders, `-`.
        dry_run: Check only.
        force: Take over fields that others manage.

    Raises:
        InvalidInput: Any document is refused; with all faults of all files, each with its file.
    """  # noqa: DOC502  # refuse() makes it
    found = _read(paths)
    faults = [*found.faults, *in_one_namespace(session, found.documents)]
    if faults:
        # What else is wrong is worth knowing in the same go, but nothing is written any more.
        raise refuse([*faults, *_refused(session, found.documents)])
    try:
        results = session.apply([document.body for document in found.documents], dry_run=dry_run, force=force)
    except Invalid as error:
        raise refuse(faults_by_file(error, found.documents)) from error
    for result in results:
        target = Target(find_kind(text(result, "kind")), text(result, "name"))
        click.echo(f"{target.resource} {text(result, 'result')}{' (dry run)' if dry_run else ''}")


def in_one_namespace(session: Session, documents: Iterable[Document]) -> Iterator[str]:
    """Yield a fault for each document that names another namespace than -n does."""
    for document in documents:
        named = document.target.namespace
        if session.is_namespace_given and named is not None and named != session.namespace:
            yield f"{document.origin}: metadata.namespace {named!r} is not the {session.namespace!r} of -n"


def _refused(session: Session, documents: list[Document]) -> list[str]:
    if not documents:
        return []
    try:
        session.apply([document.body for document in documents], dry_run=True)
    except Invalid as error:
        return faults_by_file(error, documents)
    except GraftError:
        return []  # the faults of form stand without a server too
    return []


def faults_by_file(error: Invalid, documents: list[Document]) -> list[str]:
    """Put the file before each fault; the API names the document where there are several."""
    if len(documents) == 1:
        only = documents[0]
        return [f"{only.origin}: {only.label}: {_told(cause.field, cause.message)}" for cause in error.causes]
    origins = {document.label: document.origin for document in documents}
    faults: list[str] = []
    for cause in error.causes:
        label, _, field = cause.field.partition(": ")
        faults.append(f"{origins.get(label, '?')}: {label}: {_told(field, cause.message)}")
    return faults


def _told(field: str, message: str) -> str:
    return f"{field}: {message}" if field else message


@click.command(
    epilog="""\b
Examples:
  graft validate -f job.yaml
  graft validate -f examples/01-classify-messages"""
)
@_FILES
def validate(paths: tuple[str, ...]) -> None:
    """Check files against the API (schema and CEL rules) without a server. Lists every fault; exit code 1 if there is one."""
    for document in _checked_here(paths):
        click.echo(f"{document.origin}: {document.label} is valid")


def _read(paths: Iterable[str]) -> Manifests:
    found = read_manifests(paths)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    return found


def _checked_here(paths: Iterable[str]) -> list[Document]:
    """Read files and check them against this command's own definitions; InvalidInput with every fault."""
    from graft_operator.local.admission import admit  # reading the schema is only paid for here

    found = _read(paths)
    faults = list(found.faults)
    for document in found.documents:
        try:
            admit(document.body, None)
        except Invalid as error:
            faults += faults_by_file(error, [document])
    if faults:
        raise refuse(faults, "not valid")
    return found.documents
