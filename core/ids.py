"""Types for identifiers. All are raw bytes of fixed length; hex appears only at the edges."""

from __future__ import annotations

from typing import NewType

VaultId = NewType("VaultId", bytes)  # 32 random bytes
ObjectId = NewType("ObjectId", bytes)  # 32 random bytes, never derived from content
Asset = NewType("Asset", bytes)  # keccak256(owner ‖ sha256(dataset header)), 32 bytes
ConsentId = NewType("ConsentId", bytes)  # keccak256(EIP-712 digest ‖ holder), 32 bytes
JobId = NewType("JobId", bytes)  # 32 bytes, see docs/format/61-job.md
Address = NewType("Address", bytes)  # EVM account, 20 bytes

NOBODY = Address(bytes(20))
