"""URL paths of what commands name; names are quoted, since people type them."""

from urllib.parse import quote

from graft_core.api.v1alpha1.names import API_VERSION
from graft_operator.local.resources import Kind
from graft_operator.ports import Resource

__all__ = ["collection_path", "object_path", "resource_of"]


def resource_of(kind: Kind) -> Resource:
    """Return the resource of one of Graft's kinds."""
    return Resource(API_VERSION, kind.kind, kind.plural)


def collection_path(resource: Resource, namespace: str) -> str:
    """Return the path of a namespace's objects; of the whole cluster's for an empty namespace."""
    return resource.path(quote(namespace, safe=""))


def object_path(resource: Resource, namespace: str, name: str, subresource: str = "") -> str:
    """Return the path of one object."""
    return resource.path(quote(namespace, safe=""), quote(name, safe=""), subresource)
