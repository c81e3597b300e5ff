"""`allod whoami | balance | faucet | deposit | withdraw | earnings | claim`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, unlock, who, world_of
from allod.cli.shown import Screen, Shown, command, table
from core.encoding import to_hex

if TYPE_CHECKING:
    from allod.world import World
    from consent.market.earnings import Earning

app = typer.Typer()

Amount = Annotated[str, typer.Argument(help="Tokens, like 12 or 12.50.")]


def money(world: World, units: int) -> str:
    """UNITs as people write them."""
    from consent.money import format_units

    return format_units(units, world.market.decimals)


@command(app, "whoami")
def whoami(screen: Screen) -> Shown:
    """Who acts in this home, and with which address."""
    with world_of(screen) as world:
        identity = who(screen, world)
        data = {
            "name": identity.name,
            "address": to_hex(identity.address),
            "vault": to_hex(identity.vault_id),
            "home": str(world.home),
            "known": world.identities.names(),
        }
    return Shown(data, [f"{data['name']}  {data['address']}", f"vault {data['vault']}", f"home  {data['home']}"])


@command(app, "balance")
def balance(screen: Screen) -> Shown:
    """Native money for gas, tokens in the wallet, tokens deposited in the escrow."""
    from consent.market import paying

    with world_of(screen) as world:
        identity = who(screen, world)
        found = paying.balance(world.market, identity.address)
        unit = world.deployment.unit
        data: dict[str, Any] = {
            "name": identity.name,
            "address": to_hex(identity.address),
            "native_wei": str(found.native),
            "tokens": money(world, found.tokens // unit),
            "deposited": money(world, found.deposited),
        }
    rows = [["tokens", data["tokens"]], ["deposited in the escrow", data["deposited"]]]
    rows.append(["native money (wei)", data["native_wei"]])
    return Shown(data, [table(f"{identity.name} {data['address']}", ["", "amount"], rows, numbers=[1])])


@command(app, "faucet")
def faucet(screen: Screen, amount: Amount = "1000") -> Shown:
    """Give whoever acts play tokens, and native money for gas; on development chains only."""
    from consent.chain.deployment import faucet as give
    from consent.money import parse_units

    with world_of(screen) as world:
        identity = who(screen, world)
        units = parse_units(amount, world.market.decimals)
        currency = world.market.currency
        give(world.chain, world.developer, currency, identity.address, 10**18, units * world.deployment.unit)
        data = {"name": identity.name, "tokens": money(world, units), "native_wei": str(10**18)}
    return Shown(data, [f"{identity.name} got {data['tokens']} play tokens and gas money."])


@command(app, "deposit")
def deposit(screen: Screen, amount: Amount, passphrase_file: PassphraseFile = None) -> Shown:
    """Move tokens into the escrow, by a signed permit: jobs are paid from there."""
    from consent.market import paying
    from consent.money import parse_units

    with world_of(screen) as world:
        units = parse_units(amount, world.market.decimals)
        account = unlock(screen, world, passphrase_file).account
        sent = paying.deposit(world.market, account, units)
        world.remember(sent)
        held = paying.balance(world.market, account.address).deposited
        data = {"deposited": money(world, units), "in_escrow": money(world, held), "transaction": to_hex(sent.tx_hash)}
    return Shown(data, [f"Deposited {data['deposited']}; {data['in_escrow']} in the escrow are free for jobs."])


@command(app, "withdraw")
def withdraw(screen: Screen, amount: Amount, passphrase_file: PassphraseFile = None) -> Shown:
    """Take tokens that no job holds back out of the escrow."""
    from consent.market import paying
    from consent.money import parse_units

    with world_of(screen) as world:
        units = parse_units(amount, world.market.decimals)
        account = unlock(screen, world, passphrase_file).account
        sent = paying.withdraw(world.market, account, units)
        world.remember(sent)
        data = {"withdrawn": money(world, units), "transaction": to_hex(sent.tx_hash)}
    return Shown(data, [f"Withdrew {data['withdrawn']}."])


def _rows(world: World, found: list[Earning]) -> list[dict[str, Any]]:
    return [
        {
            "job": to_hex(one.job_id),
            "consent": to_hex(one.consent_id),
            "amount": money(world, one.amount),
            "state": one.state.value,
            "claims_begin": one.claims_begin,
            "claims_end": one.claims_end,
            "transaction": None if one.tx_hash is None else to_hex(one.tx_hash),
        }
        for one in found
    ]


@command(app, "earnings")
def earnings(screen: Screen) -> Shown:
    """What every job owes or paid whoever acts: in escrow, claimable, paid."""
    from allod.trees import find_tree
    from consent.market.earnings import EarningState, total
    from consent.market.earnings import earnings as find

    with world_of(screen) as world:
        identity = who(screen, world)
        found = find(world.market, identity.address, find_tree(world))
        totals = {state.value: money(world, total(found, state)) for state in EarningState}
        rows = _rows(world, found)
    lines = [table(f"Earnings of {identity.name}", ["job", "amount", "state"], _short(rows), numbers=[1])]
    lines.append("  ".join(f"{state}: {amount}" for state, amount in totals.items()))
    return Shown({"name": identity.name, "totals": totals, "earnings": rows}, lines)


def _short(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[row["job"][:18] + "…", row["amount"], row["state"]] for row in rows]


@command(app, "claim")
def claim(screen: Screen) -> Shown:
    """Have everything claimable paid out to whoever acts; a relayer sends it, no gas is needed."""
    from allod.trees import find_tree
    from consent.market.earnings import claim as pay_out
    from consent.market.earnings import earnings as find

    with world_of(screen) as world:
        identity = who(screen, world)
        found = find(world.market, identity.address, find_tree(world))
        done = pay_out(world.market, world.relayer, found)
        paid = money(world, sum(one.amount for one in done.paid))
        data = {
            "name": identity.name,
            "paid": paid,
            "jobs": [to_hex(one.job_id) for one in done.paid],
            "not_paid": [{"job": to_hex(one.job_id), "reason": reason} for one, reason in done.skipped],
            "transactions": [to_hex(sent.tx_hash) for sent in done.sent],
        }
    return Shown(data, [f"{identity.name} was paid {paid} from {len(done.paid)} jobs."])
