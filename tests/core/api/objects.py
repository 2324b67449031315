"""Builders of documents as users write them."""

import copy
from typing import Any

__all__ = ["COMMIT", "a_job", "a_release", "changed"]

COMMIT = "a09a35458c702b33eeacc393d103063234e8bc28"


def a_job() -> dict[str, Any]:
    """A FineTuneJob with nothing but what is required."""
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "rephrase-vi-7b", "namespace": "ml"},
        "spec": {
            "task": {"type": "text-to-json", "template": "Query: {{ query }}"},
            "model": {"id": "Qwen/Qwen2.5-7B-Instruct", "revision": COMMIT},
            "dataset": {"train": ["s3://legal-datalake/rephrase/train.jsonl"]},
            "method": {"objective": "sft"},
        },
    }


def a_release() -> dict[str, Any]:
    """A ModelRelease with nothing but what is required."""
    return {
        "apiVersion": "graft.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": "rephrase", "namespace": "ml"},
        "spec": {"model": {"fineTuneJobRef": {"name": "rephrase-vi-7b"}}},
    }


REMOVED = object()
"""As a value of `changed`: take the field away."""


def changed(doc: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of the document with one field set; objects on the way are made."""
    result = copy.deepcopy(doc)
    *parents, last = path.split(".")
    at = result
    for name in parents:
        at = at.setdefault(name, {})
    if value is REMOVED:
        at.pop(last, None)
    else:
        at[last] = value
    return result
