"""Whether somebody signed a digest, as the contracts decide it: by key, else by the wallet at the address (ERC-1271).

Asked before anything is relayed, so that a wrong signature costs nobody gas and is told in words.
"""

from __future__ import annotations

from consent.chain.account import recover
from consent.chain.wallet import accepts
from consent.market.place import Market
from core.encoding import to_hex
from core.errors import InvalidInput, Refused
from core.ids import NOBODY, Address

MAX_SIGNATURE = 1024  # bytes, the contracts' bound


def is_signed(market: Market, signer: Address, digest: bytes, signature: bytes) -> bool:
    """Whether `signer` signed the 32-byte `digest`; a wallet is asked at the newest block."""
    if signer == NOBODY or not 0 < len(signature) <= MAX_SIGNATURE:
        return False
    try:
        if recover(digest, signature) == signer:
            return True
    except InvalidInput:
        pass
    return accepts(market.chain, signer, digest, signature)


def check_signed(
    market: Market, signer: Address, digest: bytes, signature: bytes, what: str, contract: Address
) -> None:
    """`Refused` unless `signer` signed; `what` names the message and `contract` is the one it is meant for."""
    if is_signed(market, signer, digest, signature):
        return
    raise Refused(
        f"This is not the signature of {to_hex(signer)} under {what}.",
        hint=f"Sign exactly these values with that account, for chain {market.chain_id} and the contract "
        f"{to_hex(contract)}.",
    )
