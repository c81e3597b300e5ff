"""DSSE envelopes (secure-systems-lab/dsse v1.0): a payload, its type, and signatures over both.

A signature is made over PAE(type, payload), so the same bytes under another type are another message.
Runners sign keccak256(PAE) with their on-chain secp256k1 key (65 bytes r ‖ s ‖ v); the key id is the address.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from core.encoding import decode_json, encode_json
from core.errors import Corrupted, InvalidInput

IN_TOTO = "application/vnd.in-toto+json"
LIMIT = 64 << 20  # bytes of an encoded envelope


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """PAE: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Envelope:
    """One payload with one signature."""

    payload_type: str
    payload: bytes
    key_id: str
    signature: bytes

    def encode(self) -> bytes:
        """The envelope as canonical JSON."""
        signature = {"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}
        return encode_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [signature],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Parse exactly what `encode` writes; anything else is `Corrupted`."""
        try:
            document: Any = decode_json(data, limit=LIMIT)
            (signature,) = document["signatures"]
            envelope = cls(
                payload_type=str(document["payloadType"]),
                payload=base64.b64decode(document["payload"], validate=True),
                key_id=str(signature["keyid"]),
                signature=base64.b64decode(signature["sig"], validate=True),
            )
            # Whatever the four fields do not carry, or base64 spells in another way, shows here.
            if envelope.encode() != data:
                raise InvalidInput("another form")
        except (InvalidInput, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise Corrupted("Not a DSSE envelope with one signature.") from error
        return envelope

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers."""
        return pre_authentication(self.payload_type, self.payload)
