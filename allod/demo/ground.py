"""What a story plays on: the embedded world in this process, or real nodes, each a process of its own.

Real nodes are an anvil chain, an offline kubo node and three keepers that serve over HTTP on loopback. All keep their
state in the demo's home, and all end with the story.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allod.world import KEEPERS, NOTICE, QUORUM, THRESHOLD, World
from core.files import write_atomic
from core.settings import Settings

if TYPE_CHECKING:
    from consent.chain.client import Chain

GAS_MONEY = 10**6 * 10**18  # wei for the account that deploys, relays and runs the faucet
TERM = 30 * 86400  # seconds that the demo's committee is in office
REAL_NOTICE = (
    "This is a world of play money on nodes of its own. Its three keepers are processes of their own, but on one "
    "machine and in one hand: independence begins where others run them."
)


@dataclass(frozen=True)
class Ground:
    """A world to play in, the address at which strangers reach its chain, and the setting that leads to its blocks."""

    world: World
    rpc_url: str
    blocks: dict[str, str]
    notice: str
    nodes: list[dict[str, Any]]


@contextmanager
def embedded_ground(settings: Settings) -> Iterator[Ground]:
    """Everything in this process; the chain answers JSON-RPC on loopback meanwhile."""
    from consent.chain.client import Chain
    from consent.chain.embedded import EmbeddedChain
    from consent.chain.rpc import serving

    with (
        EmbeddedChain(settings.home / "chain") as embedded,
        serving(embedded) as url,
        World(settings, Chain.embedded(embedded)) as world,
    ):
        yield Ground(world, url, {"ALLOD_BLOCKS": str(settings.blocks_folder)}, NOTICE, [])


@contextmanager
def real_ground(settings: Settings, say: Callable[[str], None]) -> Iterator[Ground]:
    """Real nodes; `NotFound` where a program is missing, with the command that gets it."""
    from allod.nodes import AnvilNode, KuboNode, find_program
    from consent.chain.client import Chain
    from consent.chain.deployment import deploy
    from consent.chain.embedded import developer

    home = settings.home
    for program in ("anvil", "ipfs"):
        find_program(program)
    with ExitStack() as stack:
        kubo = stack.enter_context(KuboNode(home / "kubo"))
        anvil = stack.enter_context(AnvilNode(home / "anvil"))
        anvil.fund(developer().address, GAS_MONEY)
        deployment, committee = home / "chain" / "deployment.json", home / "keepers" / "committee.json"
        chain: Chain = stack.enter_context(Chain.http(anvil.url))
        deploy(chain, developer()).save(deployment)
        keepers = _keepers(stack, home / "keepers", committee, anvil.url, deployment)
        nodes = [
            {"node": "kubo", "pid": kubo.pid, "at": kubo.api},
            {"node": "anvil", "pid": anvil.pid, "at": anvil.url},
            *keepers,
        ]
        for node in nodes:
            say(f"  {node['node']}, process {node['pid']}, at {node['at']}")
        found = {"kubo": kubo.api, "rpc_url": anvil.url, "deployment": deployment, "committee": committee}
        world = stack.enter_context(World(settings.model_copy(update=found)))
        yield Ground(world, anvil.url, {"ALLOD_KUBO": kubo.api}, REAL_NOTICE, nodes)


def _keepers(stack: ExitStack, folder: Path, document: Path, rpc_url: str, deployment: Path) -> list[dict[str, Any]]:
    """Found a committee of three and start each; each reads its own folder and nothing of the others'."""
    from allod.nodes import KeeperNode, free_port
    from consent.keeper.founding import found_committee
    from consent.keeper.keys import KeeperKeys

    ports = [free_port() for _ in range(KEEPERS)]
    folders = [folder / str(index) for index in range(1, KEEPERS + 1)]
    keys = [KeeperKeys.create(place) for place in folders]
    endpoints = [f"http://127.0.0.1:{port}" for port in ports]
    end = int(time.time()) + TERM
    write_atomic(document, found_committee(keys, THRESHOLD, QUORUM, 1, end, endpoints=endpoints).encode())
    rows = []
    for index, (place, port) in enumerate(zip(folders, ports, strict=True), start=1):
        node = stack.enter_context(KeeperNode(place, document, rpc_url, deployment, port))
        rows.append({"node": f"keeper {index}", "pid": node.pid, "at": endpoints[index - 1]})
    return rows
