"""Signatures of texts: what a wallet signs (EIP-191), and the answer of a wallet that is a contract (ERC-1271)."""

from __future__ import annotations

from eth_hash.auto import keccak

from consent.chain.client import Chain
from core.errors import Refused
from core.ids import Address

MAGIC = bytes.fromhex("1626ba7e")  # isValidSignature(bytes32,bytes), and what it answers for yes
GAS = 1_000_000  # as much as the contracts give a wallet


def personal_digest(message: bytes) -> bytes:
    """The digest that `personal_sign` signs for a message (EIP-191, version 0x45)."""
    return keccak(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message)


def question(digest: bytes, signature: bytes) -> bytes:
    """The call data that asks a contract wallet about a signature."""
    words = digest + (64).to_bytes(32, "big") + len(signature).to_bytes(32, "big")
    return MAGIC + words + signature + bytes(-len(signature) % 32)


def is_yes(answer: bytes) -> bool:
    """Whether a contract wallet said yes."""
    return answer == MAGIC + bytes(28)


def accepts(chain: Chain, wallet: Address, digest: bytes, signature: bytes) -> bool:
    """Whether the contract wallet at this address, if there is one, accepts the signature at the newest block."""
    if not chain.code(wallet, "latest"):
        return False
    try:
        return is_yes(chain.call(wallet, question(digest, signature), "latest", gas=GAS))
    except Refused:
        return False
