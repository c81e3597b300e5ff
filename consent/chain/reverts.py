"""What a contract said when it refused: the revert data, decoded into words.

`Error(string)` and `Panic(uint256)` are Solidity's conventions, which Vyper shares for reason strings.
"""

from __future__ import annotations

ERROR_STRING = bytes.fromhex("08c379a0")
PANIC = bytes.fromhex("4e487b71")

_PANICS = {
    0x01: "an assertion failed",
    0x11: "an arithmetic result is out of range",
    0x12: "a division by zero",
    0x21: "a value outside its enumeration",
    0x32: "an index out of bounds",
    0x41: "too much memory",
}


class ExecutionReverted(Exception):  # the name of the EVM's own event
    """A call or estimate that the contract reverted; `data` is what it returned."""

    def __init__(self, data: bytes) -> None:
        super().__init__("execution reverted")
        self.data = data


def revert_reason(data: bytes) -> str:
    """The reason in `data`, as a short phrase; an unknown form is shown by its four-byte selector."""
    if not data:
        return "no reason given"
    if data[:4] == ERROR_STRING and len(data) >= 68:
        length = int.from_bytes(data[36:68], "big")
        if length <= len(data) - 68:
            return "".join(c if c.isprintable() else "�" for c in data[68 : 68 + length].decode("utf-8", "replace"))
    if data[:4] == PANIC and len(data) == 36:
        code = int.from_bytes(data[4:], "big")
        return _PANICS.get(code, f"panic {code:#x}")
    return f"error 0x{data[:4].hex()} with {len(data)} bytes"
