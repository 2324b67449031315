"""The bytes of a request: read up to a limit, in a given time, as JSON; and the header that names the tenant."""

import asyncio
import json
import re
from typing import Any, Final, cast

import orjson
from starlette.requests import ClientDisconnect, Request

from graft_core.errors import InvalidInput
from graft_predictor.rest.errors import BodyTooLarge, ClientGone

__all__ = ["Limits", "has_no_store", "read_object", "tenant_of"]

_TENANT: Final = re.compile(r"[\x21-\x7e]{1,256}")


class Limits:
    """What a request may take."""

    def __init__(self, *, max_body_bytes: int, read_timeout_s: float) -> None:
        self.max_body_bytes: Final = max_body_bytes
        self.read_timeout_s: Final = read_timeout_s


async def read_object(request: Request, limits: Limits) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises BodyTooLarge where too much is declared or sent, and ClientGone where the connection closes.

    Args:
        request: Nothing of its body has been read.
        limits: Reading stops at the limit, whatever the client declared.

    Returns:
        The object. NaN and Infinity are let through as numbers, so that the fault can name the parameter.

    Raises:
        InvalidInput: Empty, too slow, of another type, or not a JSON object in UTF-8.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in {"application/json", ""}:
        raise InvalidInput(f"content-type: {content_type[:80]!r}, expected 'application/json'", path="content-type")
    data = await _read(request, limits)
    if not data.strip():
        raise InvalidInput("body: it is empty, expected a JSON object", path="body")
    value = _parse(data)
    if not isinstance(value, dict):
        raise InvalidInput("body: expected a JSON object", path="body")
    return cast("dict[str, Any]", value)


async def _read(request: Request, limits: Limits) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    data = bytearray()
    try:
        async with asyncio.timeout(limits.read_timeout_s):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limits.max_body_bytes:
                    raise _too_large(limits)
    except TimeoutError as err:
        raise InvalidInput(f"body: it did not arrive within {limits.read_timeout_s:g} seconds", path="body") from err
    except ClientDisconnect as err:
        raise ClientGone("the client left while it sent its request") from err
    return bytes(data)


def _too_large(limits: Limits) -> BodyTooLarge:
    return BodyTooLarge(f"body: it has over {limits.max_body_bytes} bytes, the most that is read", path="body")


def _parse(data: bytes) -> object:
    try:
        return cast("object", orjson.loads(data))
    except orjson.JSONDecodeError as err:
        try:
            text = data.decode()
        except UnicodeDecodeError as fault:
            raise InvalidInput(f"body: byte {fault.start} is not valid UTF-8", path="body") from fault
        if "NaN" in text or "Infinity" in text:
            # Not JSON, but what some clients send; the parameter's own check names it.
            try:
                return cast("object", json.loads(text))
            except (ValueError, RecursionError):
                pass
        raise InvalidInput(f"body: not JSON: {err.msg} at line {err.lineno} column {err.colno}", path="body") from err


def tenant_of(request: Request, header: str | None) -> str | None:
    """Read the header that names the tenant.

    Args:
        request: Its headers count.
        header: Name of the header; None: the service knows no tenants.

    Returns:
        The tenant, or None where the request names none.

    Raises:
        InvalidInput: The header is there twice, or is not plain ASCII of at most 256 characters.
    """
    if header is None:
        return None
    values = request.headers.getlist(header)
    if not values:
        return None
    if len(values) > 1:
        raise InvalidInput(f"{header}: the header is there {len(values)} times; send it once", path=header)
    if not _TENANT.fullmatch(values[0]):
        raise InvalidInput(f"{header}: expected 1 to 256 printable ASCII characters without spaces", path=header)
    return values[0]


def has_no_store(request: Request) -> bool:
    """True where the client wants neither a kept answer nor its own kept."""
    directives = {part.strip().lower() for part in request.headers.get("cache-control", "").split(",")}
    return bool(directives & {"no-store", "no-cache"})
