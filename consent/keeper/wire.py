"""The bytes between keepers and those who ask them: envelopes, replies, errors (docs/format/62-keepers.md).

Everything is deterministic dag-cbor. What is signed travels as {"v", "body", "sig"}, where `body` is itself encoded:
the signature is over its bytes or over an EIP-712 message made of its fields. Decoders refuse whatever is not exactly
of the form, and more than the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from consent.fields import constant, exact_map
from core import errors
from core.encoding import decode_cbor, encode_cbor
from core.errors import AllodError, Corrupted, InvalidInput

MEDIA_TYPE = "application/vnd.ipld.dag-cbor"  # of requests and replies over HTTP
MAX_REQUEST = 8 << 20  # bytes
MAX_REPLY = 4 * MAX_REQUEST
MAX_SIGNATURE = 1024  # what an ERC-1271 wallet may need; a key's signature has 65 bytes
_ERRORS: dict[str, type[AllodError]] = {
    kind.slug: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AllodError) and kind is not AllodError
}


def read(data: bytes, keys: Sequence[str], what: str) -> dict[str, Any]:
    """A message of version 1 with exactly these fields besides `v`."""
    if len(data) > MAX_REQUEST:
        raise InvalidInput(f"{what} is larger than {MAX_REQUEST} bytes.")
    fields = exact_map(decode_cbor(data, limit=MAX_REQUEST), {"v", *keys}, what)
    constant(fields["v"], 1, f"The version of {what[0].lower()}{what[1:]}")
    return fields


def kind_of(data: bytes) -> str:
    """What kind of message this is, before its fields are read."""
    if len(data) > MAX_REQUEST:
        raise InvalidInput(f"The request is larger than {MAX_REQUEST} bytes.")
    value = decode_cbor(data, limit=MAX_REQUEST)
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str):
        raise InvalidInput("The request does not say of what kind it is.")
    return kind


def write(kind: str, **fields: Any) -> bytes:
    """A message of version 1."""
    return encode_cbor({"v": 1, "kind": kind, **fields})


def sign(body: bytes, signature: bytes) -> bytes:
    """A body with its signature."""
    return encode_cbor({"v": 1, "body": body, "sig": signature})


def unsign(data: bytes) -> tuple[bytes, bytes]:
    """The body and the signature, not verified."""
    fields = read(data, ("body", "sig"), "The request")
    body, signature = fields["body"], fields["sig"]
    if not isinstance(body, bytes) or not isinstance(signature, bytes) or len(signature) > MAX_SIGNATURE:
        raise InvalidInput("The request's body and signature are not bytes of a permitted length.")
    return body, signature


def write_error(error: AllodError) -> bytes:
    """A refusal as its one sentence, and what to do next."""
    return encode_cbor({"v": 1, "error": error.slug, "reason": error.message, "next": error.hint})


def read_reply(data: bytes, keys: Sequence[str], what: str) -> dict[str, Any]:
    """A keeper's reply; its error becomes the exception that it names, and an unknown one is `Refused`.

    What is not a reply at all is `Corrupted`.
    """
    try:
        value = decode_cbor(data, limit=MAX_REPLY)
        if not isinstance(value, dict) or "error" not in value:
            fields = exact_map(value, {"v", *keys}, what)
            constant(fields["v"], 1, f"The version of {what[0].lower()}{what[1:]}")
            return fields
        said = exact_map(value, ("v", "error", "reason", "next"), "The keeper's error")
        if not all(isinstance(said[name], str) and len(said[name]) <= 500 for name in ("error", "reason", "next")):
            raise InvalidInput("The keeper's error is not text.")
    except InvalidInput as error:
        raise Corrupted(f"The keeper's reply cannot be read: {error.message}", hint="Ask another keeper.") from None
    raise _ERRORS.get(said["error"], errors.Refused)(said["reason"], hint=said["next"])


def any_octets(value: Any, what: str) -> bytes:
    """`value` as bytes of any length."""
    if not isinstance(value, bytes):
        raise InvalidInput(f"{what} is not bytes.")
    return value
