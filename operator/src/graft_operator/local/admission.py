"""What the store lets in: the object checked as an API server with our CRDs would, in the same words."""

from typing import Any

from graft_core.api.validation import apply_defaults, validate_object
from graft_operator.local.documents import meta_of
from graft_operator.local.faults import Cause, Invalid

__all__ = ["admit"]


def admit(body: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
    """Check one object against schema, CEL rules and its older self.

    Args:
        body: The object as written, without status.
        old: The stored object it replaces; transition rules see it as oldSelf.

    Returns:
        The object with the defaults of its spec filled in.

    Raises:
        Invalid: With every fault.
    """
    faults = validate_object(body, old)
    if faults:
        raise Invalid(
            f"{body.get('kind', 'the object')}/{meta_of(body).get('name', '?')}",
            [Cause(f.path, f.message) for f in faults],
        )
    return apply_defaults(body)
