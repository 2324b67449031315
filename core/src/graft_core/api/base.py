"""What every API object is made of: the model base, CEL rules, and the scalar types of Kubernetes.

Docstrings under the fields become the CRD's descriptions, so they are written for the person who applies the object.
Numbers with a fraction are decimal strings, as the Kubernetes API conventions ask.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "MAX_LIST",
    "Cel",
    "DecimalString",
    "DnsLabel",
    "DnsSubdomain",
    "Fraction",
    "Image",
    "KubeModel",
    "LabelValue",
    "ObjectMeta",
    "OwnerReference",
    "PositiveDecimal",
    "Quantity",
    "SecretKeyRef",
    "SecretRef",
    "Sha256",
    "Timestamp",
]

MAX_LIST = 64
"""Longest list a spec may hold where nothing tighter is said; CEL's cost budget needs a bound on every list."""


@dataclass(frozen=True)
class Cel:
    """One `x-kubernetes-validations` rule.

    `rule` sees `self` (and `oldSelf` for a transition rule). `field_path` is relative to the model that carries the rule, e.g. `.split.test`.
    """

    rule: str
    message: str
    field_path: str = ""


class KubeModel(BaseModel):
    """Base of API models: camelCase on the wire, frozen, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )

    cel: ClassVar[tuple[Cel, ...]] = ()
    """Rules over this object; they become `x-kubernetes-validations` and are evaluated as they stand by the local shell."""

    def replaced(self, **values: object) -> Self:
        """Copy with other values, which nobody validates: what `model_copy` does, at a fifth of its cost."""
        cls = type(self)
        copy = cls.__new__(cls)
        # The four attributes of which pydantic says that every model has them; a frozen one takes them only this way.
        fill = object.__setattr__
        fill(copy, "__dict__", {**self.__dict__, **values})
        fill(copy, "__pydantic_fields_set__", self.__pydantic_fields_set__.union(values))
        fill(copy, "__pydantic_extra__", None)
        fill(copy, "__pydantic_private__", None)
        return copy


DecimalString = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$", max_length=32)]
"""A decimal number as a string, e.g. "2e-4"."""

PositiveDecimal = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$", max_length=32)]
"""A decimal number >= 0 as a string."""

Fraction = Annotated[str, Field(pattern=r"^(0(\.[0-9]{1,12})?|1(\.0{1,12})?)$", max_length=16)]
"""A share between 0 and 1 as a string, e.g. "0.1"."""

DnsLabel = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=50)]
"""A name that leaves room for the suffixes of child objects within the 63 characters of RFC 1123."""

Quantity = Annotated[
    str,
    Field(
        pattern=r"^([1-9][0-9]{0,11}(m|k|Ki)?|[1-9][0-9]{0,6}(\.[0-9]{1,3})?(M|Mi|G|Gi)?|[1-9][0-9]{0,2}(\.[0-9]{1,3})?(T|Ti)|0\.[0-9]{0,2}[1-9](G|Gi|T|Ti)?)$",
        max_length=16,
    ),
]
"""A Kubernetes quantity over 0 such as "8", "500m" or "64Gi"."""

DnsSubdomain = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", min_length=1, max_length=253)]
"""A name after RFC 1123, as Secrets and priority classes have it."""

LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$", max_length=63)]
"""The value of a Kubernetes label."""

Image = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-._:/a-zA-Z0-9]*[a-zA-Z0-9])?(:[A-Za-z0-9_][-._A-Za-z0-9]{0,127})?(@sha256:[0-9a-f]{64})?$",
        min_length=1,
        max_length=512,
    ),
]
"""A container image by tag or, better, by digest."""

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""A digest such as "sha256:9f2c…" with 64 lower-case hex digits."""

Timestamp = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC."""


class SecretRef(KubeModel):
    """A Secret in the object's own namespace."""

    name: DnsSubdomain
    """Name of the Secret; there is no namespace field on purpose."""


class SecretKeyRef(KubeModel):
    """One key of a Secret in the object's own namespace."""

    name: DnsSubdomain
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
    """Key within the Secret."""


class OwnerReference(BaseModel):
    """metav1.OwnerReference; fields that Graft does not read are dropped."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, populate_by_name=True)

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False


class ObjectMeta(BaseModel):
    """The part of metav1.ObjectMeta that Graft reads; what it does not read is dropped, not refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, populate_by_name=True)

    name: DnsLabel
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
