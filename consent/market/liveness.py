"""Which of many consent tokens are live: ten thousand in two calls, at one block.

Promises: every answer of one question is about the same block; an answer with a bit more or less than was asked for is
`Unavailable`, never a yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from consent.chain.client import BlockId
from consent.grant import Consent
from consent.market.granting import consent_id
from consent.market.place import Market
from consent.typed import keccak
from core.errors import Refused, Unavailable
from core.ids import Address

PAIRS = 5_000  # in one call: 8,400 gas each where no two share an owner, and the contract takes 8,192
GAS = 50_000_000  # what geth lets a call use; anvil allows less unless it is told
FEWEST = 64  # pairs below which a refusal is not about their number
AT_ONCE = 4  # calls that are under way at the same time

_SELECTOR = keccak(b"live_packed(bytes)")[:4]


def pair_of(market: Market, consent: Consent, holder: Address) -> bytes:
    """What the chain is asked about a token: its id, its owner and its nonce, 64 bytes. Work it out once."""
    return consent_id(market, consent, holder) + consent.owner + consent.nonce.to_bytes(12, "big")


def live(market: Market, pairs: Sequence[bytes], block: BlockId = "latest") -> list[bool]:
    """Which of these tokens are live in everything but their uses, in as few calls as the node takes."""
    if not pairs:
        return []
    pinned = block if isinstance(block, bytes) else market.chain.block(block).hash
    calls = -(-len(pairs) // PAIRS)
    size = -(-len(pairs) // calls)
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    if len(chunks) == 1:
        return _ask(market, chunks[0], pinned)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [bit for bits in pool.map(lambda chunk: _ask(market, chunk, pinned), chunks) for bit in bits]


def _ask(market: Market, pairs: Sequence[bytes], block: bytes) -> list[bool]:
    packed = b"".join(pairs)
    data = _SELECTOR + (32).to_bytes(32, "big") + len(packed).to_bytes(32, "big") + packed
    try:
        answer = market.chain.call(market.token.address, data, block, gas=GAS)
    except (Refused, Unavailable) as error:
        # What a node says to too much gas or too long a request differs from node to node; a node that says nothing
        # is not asked again.
        if len(pairs) <= FEWEST or not (isinstance(error, Refused) or "code" in error.detail):
            raise
        middle = len(pairs) // 2
        return _ask(market, pairs[:middle], block) + _ask(market, pairs[middle:], block)
    count = -(-len(pairs) // 256)
    words = [int.from_bytes(answer[start : start + 32], "big") for start in range(0, len(answer), 32)]
    if len(answer) != 32 * (2 + count) or words[:2] != [32, count] or words[-1] >> ((len(pairs) - 1) % 256 + 1):
        raise Unavailable(
            "The chain does not say which of these consents are live.",
            hint="Check the contract addresses in the settings, or use another endpoint.",
        )
    return [bool(words[2 + (place >> 8)] >> (place & 255) & 1) for place in range(len(pairs))]
