"""`allod chain serve | deploy | verify`: the embedded chain for other programs, and the contracts on any chain."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, unlock
from allod.cli.doctor import MARKS
from allod.cli.shown import Screen, Shown, command, plain
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Conflict, InvalidInput, VerificationFailed

if TYPE_CHECKING:
    from allod.world import World
    from consent.chain.account import Account
    from core.ids import Address

app = typer.Typer(name="chain", no_args_is_help=True)
GAS_MONEY = 10**19  # wei for the developer of a development chain that is not ours


@app.callback()
def chain() -> None:
    """The embedded development chain, and the contracts on other chains."""


@command(app, "serve")
def serve(
    screen: Screen,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port on loopback; 0 picks a free one.")] = 0,
) -> Shown:
    """Answer JSON-RPC for this home's chain; other allod commands find it by themselves. Ctrl-C or SIGTERM stops it."""
    from allod.world import World
    from consent.chain.embedded import EmbeddedChain
    from consent.chain.rpc import serving

    if screen.settings.rpc_url is not None:
        raise InvalidInput("ALLOD_RPC_URL names another chain.", hint="Unset it to serve the embedded one.")
    with World(screen.settings) as world:
        chain_id = world.deployment.chain_id  # so that whoever connects finds the contracts
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with EmbeddedChain(screen.settings.home / "chain") as embedded, serving(embedded, port=port) as url:
        screen.note(f"Chain {chain_id} answers on {url} (play money; Ctrl-C stops it).")
        stop.wait()
    return Shown({"url": url, "chain_id": chain_id}, ["Stopped; the chain is on disk."])


@command(app, "deploy")
def deploy(
    screen: Screen,
    currency: Annotated[
        str | None,
        typer.Option(
            "--currency", metavar="ADDRESS", help="The ERC-20 that jobs pay in.", show_default="new play money"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where their addresses go.", show_default="this home's"),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Deploy the contracts to the chain of ALLOD_RPC_URL. Interrupted, it goes on where it stopped.

    Whoever acts pays the gas; on a development chain the developer does.
    """
    from allod.world import World
    from consent.chain.deployment import deploy as put

    path = output or screen.settings.deployment_file
    if path.exists():
        raise Conflict(
            f"{path} holds the contracts of a chain already.",
            hint="Write to another file with --output, or move this one away.",
        )
    if screen.settings.rpc_url is None:
        raise InvalidInput(
            "The embedded chain deploys its contracts itself.", hint="Set ALLOD_RPC_URL to the chain that is meant."
        )
    token = None if currency is None else _address(currency)
    with World(screen.settings.model_copy(update={"deployment": path})) as world:
        account = _deployer(screen, world, passphrase_file)
        screen.note(f"Deploying to chain {world.chain.chain_id} from {to_hex(account.address)} …")
        if token is None and not world.chain.is_development:
            raise InvalidInput("Jobs on this chain need a currency.", hint="Name an ERC-20: --currency ADDRESS.")
        # The file's place is the deployment's name: a second one to another file is another deployment.
        done = put(world.chain, account, token, name=str(path.resolve()))
        done.check(world.chain)
        done.save(path)
    data: dict[str, Any] = {"deployment": str(path), "chain_id": done.chain_id, "from": to_hex(account.address)}
    names = ("registry", "consent_token", "escrow", "currency")
    data["contracts"] = {name: to_hex(getattr(done, name)) for name in names}
    lines = [f"{MARKS['works']} {name}  {address}" for name, address in data["contracts"].items()]
    return Shown(data, [*lines, f"Written to {plain(path)}."])


@command(app, "verify")
def verify(
    screen: Screen,
    deployment: Annotated[
        Path | None,
        typer.Option("--deployment", metavar="FILE", help="A deployment.json.", show_default="this home's"),
    ] = None,
) -> Shown:
    """Compare the deployed contracts with the artifacts of this version: code, constants, and how they are wired."""
    from allod.world import World
    from consent.chain.deployment import Deployment

    path = deployment or screen.settings.deployment_file
    wanted = Deployment.load(path)
    with World(screen.settings.model_copy(update={"deployment": path})) as world:
        found = wanted.findings(world.chain)
    rows = [
        {
            "what": one.what,
            "address": one.address and to_hex(one.address),
            "ok": not one.problem,
            "problem": one.problem,
        }
        for one in found
    ]
    data: dict[str, Any] = {"deployment": str(path), "chain_id": wanted.chain_id, "checks": rows}
    lines = [
        f"{MARKS['fails' if one.problem else 'works']} {one.what}  "
        f"{plain(one.problem) or (to_hex(one.address) if one.address else '')}".rstrip()
        for one in found
    ]
    broken = [one.what for one in found if one.problem]
    if broken:
        screen.say(*lines)
        raise VerificationFailed(
            f"These are not the contracts of this version: {', '.join(broken)}.",
            hint="Use no money with them. Check ALLOD_RPC_URL and the deployment's file, or ask who deployed them.",
            **data,
        )
    return Shown(data, lines)


def _address(text: str) -> Address:
    from core.ids import Address

    try:
        return Address(from_hex(text.lower(), 20))
    except AllodError:
        raise InvalidInput(f"{text[:60]} is no address.", hint="An address is 0x and 40 hex digits.") from None


def _deployer(screen: Screen, world: World, passphrase_file: Path | None) -> Account:
    if not world.chain.is_development:
        return unlock(screen, world, passphrase_file).account
    developer = world.developer
    if world.chain.balance(developer.address) == 0:
        with suppress(AllodError):  # anvil and hardhat give it; without it the next step says what is missing
            world.chain.request("anvil_setBalance", to_hex(developer.address), hex(GAS_MONEY))
    return developer
