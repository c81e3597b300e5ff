"""Addresses as people type them: a checksum catches a slip, nobody is nobody."""

from __future__ import annotations

import pytest

from consent.addresses import read_address, write_address
from core.errors import InvalidInput
from core.ids import Address

# The examples of EIP-55.
KNOWN = (
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
)


@pytest.mark.parametrize("text", KNOWN)
def test_the_standards_examples_are_read_and_written(text: str) -> None:
    address = read_address(text)
    assert address == Address(bytes.fromhex(text[2:]))
    assert write_address(address) == text
    assert read_address(text.lower()) == read_address("0x" + text[2:].upper()) == address


def test_a_slip_of_one_digit_or_of_case_is_noticed() -> None:
    text = KNOWN[0]
    for place in range(2, 42):
        other = "1" if text[place] != "1" else "2"
        slips = {text[:place] + other + text[place + 1 :], text[:place] + text[place].swapcase() + text[place + 1 :]}
        for slip in slips - {text}:
            with pytest.raises(InvalidInput) as error:
                read_address(slip)
            assert error.value.hint


@pytest.mark.parametrize("text", ["", "0x", "0x12", KNOWN[0][2:], KNOWN[0] + "00", "0x" + "g" * 40, "0x" + "0" * 40])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_address(text)
    assert error.value.hint
