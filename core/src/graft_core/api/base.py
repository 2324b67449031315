"""What every API object is made of: the model base, CEL rules, and the scalar types of Kubernetes.

Docstrings under the fields become the CRD's descriptions, so they are written for the person who applies the object.
Numbers with a fraction are decimal strings, as the Kubernetes API conventions ask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Final, ParamSpec, Self, TypeVar, cast

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
    "filled",
    "unchecked",
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

    def __eq__(self, other: object) -> bool:
        """Say whether it is the same kind with the same fields: all that pydantic's own comes to where nothing is extra or private."""
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        """Hash the fields, which always stand in the order of the model."""
        return hash((type(self), *self.__dict__.values()))

    def replaced(self, **values: object) -> Self:
        """Copy with other values, which nobody validates: `model_copy` at a fifth of its cost. In the copy every field counts as set."""
        return self.with_fields(values)

    def with_fields(self, values: Mapping[str, object]) -> Self:
        """Copy with these values by name, as `replaced`."""
        cls = type(self)
        return filled(cls, {**self.__dict__, **values}, _every_field(cls))


ModelT = TypeVar("ModelT", bound=KubeModel)
ParamsT = ParamSpec("ParamsT")


def unchecked(model: Callable[ParamsT, ModelT]) -> Callable[ParamsT, ModelT]:
    """Return what makes a model of values that our own code made and that nobody needs to validate, at half the cost of a call.

    Args:
        model: A model; the values are given as to itself.

    Returns:
        A function; in what it makes every field counts as set.
    """
    cls = cast("type[ModelT]", model)
    # In the order of the fields, which is that of the model's JSON; the required ones are among the values.
    blank = {name: cast("object", field.default) for name, field in cls.model_fields.items()}

    def make(*_: ParamsT.args, **values: ParamsT.kwargs) -> ModelT:
        return filled(cls, {**blank, **values}, _every_field(cls))

    return make


@cache
def _every_field(cls: type[KubeModel]) -> set[str]:
    return set(cls.model_fields)


# The four attributes of which pydantic says that every model has them; a frozen one takes them only from their descriptors.
_set_fields: Final[Callable[[object, object], None]] = vars(BaseModel)["__dict__"].__set__
_set_told: Final[Callable[[object, object], None]] = vars(BaseModel)["__pydantic_fields_set__"].__set__
_set_extra: Final[Callable[[object, object], None]] = vars(BaseModel)["__pydantic_extra__"].__set__
_set_private: Final[Callable[[object, object], None]] = vars(BaseModel)["__pydantic_private__"].__set__
_new: Final = object.__new__


def filled(cls: type[ModelT], fields: dict[str, object], told: set[str]) -> ModelT:
    """Make a model of valid values, which nobody checks; `unchecked` and `replaced` are easier to hold right.

    Args:
        cls: The model.
        fields: Every field, in the model's order; the dict becomes the model's own.
        told: Fields that count as set; several models may share it.

    Returns:
        The model.
    """
    made = _new(cls)
    _set_fields(made, fields)
    _set_told(made, told)
    _set_extra(made, None)
    _set_private(made, None)
    return made


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
