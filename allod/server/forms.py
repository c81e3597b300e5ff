"""The words of the API's documents: fields that many routes share, with their bounds.

Bytes are lower-case hex with 0x in front, money is an integer number of UNITs as a decimal string, times are Unix
seconds. `account: AddressHex` in a request's model is text; `address(text)` makes bytes of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.encoding import from_hex
from core.ids import Address

AddressHex = Annotated[str, Field(pattern="^0x[0-9a-f]{40}$", description="An account: 20 bytes of hex.")]
Hex32 = Annotated[str, Field(pattern="^0x[0-9a-f]{64}$", description="32 bytes of hex.")]
SignatureHex = Annotated[
    str,
    Field(
        pattern="^0x([0-9a-f]{2}){1,1024}$",
        max_length=2050,
        description="A signature: 65 bytes, or what a wallet takes.",
    ),
]
Units = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,77})$", description="Money, in whole UNITs of the currency.")]
Cid = Annotated[str, Field(pattern="^[a-z2-7]{8,120}$", description="A CIDv1 in base32.")]
UnixTime = Annotated[int, Field(ge=0, lt=2**40, description="Unix seconds.")]


class Form(BaseModel):
    """A request's body: what it does not name is an error."""

    model_config = ConfigDict(extra="forbid", str_max_length=1 << 20)


def address(text: str) -> Address:
    """The bytes of an account."""
    return Address(from_hex(text, 20))


def seconds(time: datetime) -> int:
    """A time as the API writes it."""
    return int(time.timestamp())
