"""`-o json|yaml|name|jsonpath=…`: what is printed where a table is not wanted."""

import json
import re
from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from graft_core.api.v1alpha1.names import GROUP
from graft_core.errors import InvalidInput
from graft_operator.cli.jsonpath import look_up, parse_path, to_words
from graft_operator.local.fields import Json, as_objects, name_of, text

__all__ = ["FORMATS", "OutputFormat", "to_list", "to_text", "to_yaml"]

_NUMBER_LIKE = re.compile(r"[-+.]?[0-9]")
"""A text such as 2e-4 is quoted: YAML 1.2, and so kubectl, would take it for a number."""

FORMATS = ("json", "yaml", "wide", "name", "jsonpath=")
"""What -o takes; the last one is followed by a path."""


class OutputFormat(click.ParamType[str]):
    """The value of -o."""

    name = "format"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check a format and the path within it."""
        form = str(value)
        if form.startswith("jsonpath="):
            try:
                parse_path(form.removeprefix("jsonpath="))
            except InvalidInput as error:
                self.fail(str(error), param, ctx)
        elif form not in FORMATS:
            self.fail(
                f"{form!r} is not an output format; expected json, yaml, wide, name or jsonpath={{.path}}", param, ctx
            )
        return form

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the formats."""
        return [CompletionItem(form) for form in FORMATS if form.startswith(incomplete)]


def to_list(objects: Sequence[Json]) -> Json:
    """Put a List around objects."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": list(objects)}


def to_text(form: str, body: Json) -> str:
    """Write one object, or a List, in one of the formats but `wide`.

    Args:
        form: As checked by `OutputFormat`.
        body: An object or a List.

    Returns:
        Text with its final newline; empty where there is nothing to write.
    """
    if form == "name":
        objects = as_objects(body.get("items")) if text(body, "kind") == "List" else [body]
        return "".join(f"{text(one, 'kind').lower()}.{GROUP}/{name_of(one)}\n" for one in objects)
    if form == "json":
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    if form == "yaml":
        return to_yaml(body)
    return to_words(look_up(body, form.removeprefix("jsonpath="))) + "\n"


def to_yaml(body: Json) -> str:
    """Write block-style YAML, keys in the order of the object, long strings unfolded, texts of several lines as literal blocks."""
    import yaml  # a table needs none of it

    class Dumper(yaml.SafeDumper):
        """Ours to change: representers are kept by class."""

    def represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        del dumper
        style = "|" if "\n" in value else "'" if _NUMBER_LIKE.match(value) else None
        return yaml.ScalarNode("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, represent_text)
    return yaml.dump(body, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=4096)
