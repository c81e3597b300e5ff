"""How long checking ten thousand consents takes, and reading ten thousand events, on anvil and on the embedded chain.

    python -m bench.index [--json] [--consents 10000] [--embedded 1000]

The consents are real: each of an owner of its own, signed, granted in a transaction, and live. Each figure is the best
of a few rounds, because machines are noisy. Goals are for anvil; where anvil is missing, a line on stderr says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allod import schema
from allod.nodes import AnvilNode, find_program
from bench.figures import Figure, figure, tell
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import deploy
from consent.chain.embedded import EmbeddedChain, developer
from consent.grant import Consent, nonce_of
from consent.index.indexer import Indexer
from consent.index.layout import Layouts
from consent.market.granting import sign
from consent.market.liveness import live, pair_of
from consent.market.place import BATCH, Market
from core.database import open_engine
from core.encoding import to_hex
from core.errors import NotFound
from core.ids import NOBODY, Asset

ROUNDS = 7
HOLDER = Account(b"\x77" * 32).address
EVENTS = 10_000  # that the goal for reading is about


class Forgetful(AnvilNode):
    """anvil without its state on disk, which it writes whole, every second, while it answers nobody."""

    def _spawn(self, words: list[str], environment: dict[str, str] | None = None) -> None:
        kept = words[: words.index("--state")] + words[words.index("--color") :]
        super()._spawn(kept, environment)


def best(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Wall-clock seconds of the quickest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def granted(market: Market, count: int) -> tuple[list[bytes], bytes]:
    """Grant that many consents: what a check asks about each, and the block after which all are live."""
    relayer, nonce = developer(), market.chain.nonce(developer().address)
    pairs: list[bytes] = []
    prepared = None
    for start in range(0, count, BATCH):
        signed = []
        for number in range(start, min(start + BATCH, count)):
            owner = Account((number + 10**6).to_bytes(32, "big"))
            consent = Consent(
                owner=owner.address,
                grantee=HOLDER,
                asset=Asset(bytes(32)),
                terms=bytes(32),
                purpose=bytes(32),
                runner=NOBODY,
                escrow=market.escrow.address,
                not_before=0,
                expiry=2**40 - 1,
                max_uses=0,
                nonce=nonce_of(0, 0, 0),
            )
            signed.append(sign(market, owner, consent))
            pairs.append(pair_of(market, consent, HOLDER))
        data = market.token.encode("redeem", [s.consent.as_tuple() for s in signed], [s.signature for s in signed])
        gas = 200_000 + 110_000 * len(signed)
        prepared = market.chain.prepare(relayer, market.token.address, data, gas=gas, nonce=nonce)
        market.chain.request("eth_sendRawTransaction", to_hex(prepared.raw))
        nonce += 1
    assert prepared is not None
    return pairs, market.chain.submit(prepared).block_hash  # sent once more, to wait for it


def measure(chain: Chain, count: int, where: str, *, with_goals: bool) -> list[Figure]:
    """The figures of one chain with that many consents."""
    market = Market(chain, deploy(chain, developer()))
    pairs, block = granted(market, count)
    if not all(live(market, pairs, block)):
        raise RuntimeError("not every consent that was granted is live")
    layouts = Layouts(market.deployment)
    span = (market.deployment.first_block, chain.block(block).number)
    raw: list[Any] = chain.scan(lambda logs: logs, layouts.addresses, span)
    some = raw[:EVENTS]
    checking, reading = best(lambda: live(market, pairs, block)), best(lambda: layouts.read(some))
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/allod.db")
        schema.upgrade(engine)
        index = Indexer(chain, market.deployment, engine)
        everything = best(index.follow, 1)
        again = best(index.follow)
        engine.dispose()

    def row(name: str, value: float, most: float | None = None) -> Figure:
        goal = most if with_goals else None
        return figure(f"{name}, {where}", value, "s", goal and f"≤ {goal}", None if goal is None else value <= goal)

    return [
        row(f"{len(pairs):,} consents checked", checking, 0.1),
        row(f"{len(some):,} logs decoded", reading, 0.3),
        row(f"{len(raw):,} events into the index", everything),
        row("index with nothing new", again),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.index", description=__doc__)
    parser.add_argument("--consents", type=int, default=10_000)
    parser.add_argument("--embedded", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args()
    rows: list[Figure] = []
    try:
        find_program("anvil")
    except NotFound as error:
        print(f"Not measured on anvil: {error.message} {error.hint}", file=sys.stderr)
    else:
        with tempfile.TemporaryDirectory() as folder, Forgetful(Path(folder)) as node, Chain.http(node.url) as chain:
            node.fund(developer().address, 10**9 * 10**18)
            rows += measure(chain, asked.consents, "anvil", with_goals=asked.consents >= EVENTS)
    with EmbeddedChain(None) as embedded:
        rows += measure(Chain.embedded(embedded), asked.embedded, "embedded", with_goals=False)
    tell("index", rows, as_json=asked.as_json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
