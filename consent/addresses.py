"""EVM addresses as people write them: 0x and 40 hex digits, whose mixed case is a checksum (EIP-55)."""

from __future__ import annotations

from consent.typed import keccak
from core.encoding import from_hex
from core.errors import InvalidInput
from core.ids import NOBODY, Address


def read_address(text: str) -> Address:
    """The address that a person typed; `InvalidInput` if it is none, is nobody's, or is mistyped by its checksum.

    All lower or all upper case carries no checksum and is taken as it is.
    """
    try:
        address = Address(from_hex("0x" + text[2:].lower() if text[:2] in ("0x", "0X") else text, 20))
    except InvalidInput:
        raise InvalidInput(
            f"'{text[:60]}' is not an address.", hint="An address is 0x and 40 hex digits; copy it from the wallet."
        ) from None
    if address == NOBODY:
        raise InvalidInput("The address 0x0 is nobody's.", hint="Copy the address from the wallet.")
    digits = text[2:]
    if digits not in (digits.lower(), digits.upper()) and digits != write_address(address)[2:]:
        raise InvalidInput(
            f"The address {text} is mistyped: its letters' case does not fit its digits.",
            hint="Copy it from the wallet again, rather than typing it.",
        )
    return address


def write_address(address: Address) -> str:
    """With EIP-55's checksum: a letter is a capital where the hash's digit in its place is 8 or more."""
    digits = address.hex()
    marks = keccak(digits.encode("ascii")).hex()
    return "0x" + "".join(d.upper() if int(mark, 16) >= 8 else d for d, mark in zip(digits, marks, strict=False))
