"""`-o json|yaml|wide|name`: what is printed where a table is not wanted."""

import json
from collections.abc import Sequence
from typing import Any

import yaml

__all__ = ["FORMATS", "to_text"]

FORMATS = ("json", "yaml", "name", "wide")


class _Dumper(yaml.SafeDumper):
    """Block style, keys in the order of the object, long strings unfolded."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def to_text(form: str, objects: Sequence[dict[str, Any]], *, single: bool) -> str:
    """Write objects in one of the formats but `wide`.

    Args:
        form: json, yaml or name.
        objects: API objects.
        single: One object was asked for by name, so that no List is put around it.

    Returns:
        Text without a final newline.
    """
    if form == "name":
        return "\n".join(f"{o['kind'].lower()}.graft.dev/{o['metadata']['name']}" for o in objects)
    body: Any = (
        objects[0]
        if single and len(objects) == 1
        else {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": list(objects)}
    )
    if form == "json":
        return json.dumps(body, indent=2, ensure_ascii=False)
    return yaml.dump(body, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096).rstrip("\n")
