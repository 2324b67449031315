"""What every contract is made of."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = ["Contract", "ObjectRef"]


class Contract(BaseModel):
    """Base of contracts: camelCase in JSON, frozen, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )

    def to_json(self) -> str:
        """Serialize as the JSON that travels; unset optional fields are left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class ObjectRef(Contract):
    """The object a message is about."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    uid: str
    """Its UID; names come back, UIDs don't."""
    generation: int = 1
    """metadata.generation the message was made from."""
