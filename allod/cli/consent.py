"""`allod consent offer | grant | take | list | revoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from allod.cli.acting import PassphraseFile, unlock, who, world_of
from allod.cli.shown import Screen, Shown, command, table
from allod.cli.vault import opened
from core.encoding import to_hex
from core.errors import InvalidInput

if TYPE_CHECKING:
    from allod.world import World
    from consent.grant import Consent
    from consent.market.granting import SignedConsent

app = typer.Typer(name="consent", no_args_is_help=True)
DAY = 86400

AssetName = Annotated[
    str, typer.Argument(metavar="ASSET", help="The dataset: its number in the list, or the start of its 0x asset.")
]
Purpose = Annotated[str, typer.Option(help="The one purpose consented to.")]
Days = Annotated[int | None, typer.Option(min=1, help="For how long; by default as long as the terms.")]
Uses = Annotated[int | None, typer.Option(min=0, max=65535, help="How many jobs; by default as the terms say.")]


@app.callback()
def consent() -> None:
    """Consents: what owners sign, and trainers hold as soulbound tokens."""


def describe(world: World, signed: Consent, digest: bytes) -> dict[str, Any]:
    """A consent as JSON for people."""
    from consent.purposes import purpose_of_hash

    known = purpose_of_hash(signed.purpose)
    return {
        "consent": to_hex(digest),
        "kind": "offer" if signed.is_offer else "grant",
        "owner": to_hex(signed.owner),
        "grantee": None if signed.is_offer else to_hex(signed.grantee),
        "asset": to_hex(signed.asset),
        "purpose": known.code if known else to_hex(signed.purpose),
        "not_before": signed.not_before,
        "expiry": signed.expiry,
        "max_uses": signed.max_uses or "unlimited",
    }


def _signed(
    screen: Screen,
    asset: str,
    purpose: str,
    days: int | None,
    max_uses: int | None,
    passphrase_file: Any,
    to: str | None,
) -> Shown:
    from allod.owner import grant, own_terms, sign_consent
    from core.ids import NOBODY, Address, Asset

    with opened(screen, passphrase_file) as (world, owner, found):
        row = world.catalogue.find(asset)
        expiry = None if days is None else world.chain.block().timestamp + days * DAY
        end = own_terms(world, found, Asset(row.asset)).expiry
        if expiry is not None and expiry > end:
            raise InvalidInput(
                f"The dataset's terms end in {(end - expiry) // DAY + (days or 0)} days.",
                hint="Give fewer --days, or leave it out to consent as long as the terms hold.",
            )
        grantee = NOBODY if to is None else Address(_address(world, to))
        signed = sign_consent(
            world, owner, found, Asset(row.asset), purpose, grantee=grantee, expiry=expiry, max_uses=max_uses
        )
        digest = signed.consent.digest(world.deployment.chain_id, world.deployment.consent_token)
        data = describe(world, signed.consent, digest)
        if to is None:
            lines = [f"Offered: any trainer may take {data['consent'][:18]}… for {purpose}."]
        else:
            done = grant(world, signed)
            data |= {"token": to_hex(done.minted[0]), "transaction": to_hex(done.sent[0].tx_hash)}
            data["gas"] = done.sent[0].gas
            lines = [f"Granted to {to}: token {data['token']}"]
        lines.append("`allod consent revoke` ends it; a key that was released before cannot be recalled.")
    return Shown(data, lines)


def _address(world: World, name: str) -> bytes:
    """A 0x address, or the address of an identity of this home."""
    from consent.addresses import read_address

    return read_address(name) if name[:2] in ("0x", "0X") else world.identities.get(name).address


@command(app, "offer")
def offer(
    screen: Screen,
    asset: AssetName,
    purpose: Purpose = "academic-research",
    days: Days = None,
    max_uses: Uses = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Sign an open offer: whoever takes it on chain, under your terms, gets a token of their own."""
    return _signed(screen, asset, purpose, days, max_uses, passphrase_file, None)


@command(app, "grant")
def grant_(
    screen: Screen,
    asset: AssetName,
    to: Annotated[str, typer.Option("--to", metavar="TRAINER", help="A 0x address, or a name of this home.")],
    purpose: Purpose = "academic-research",
    days: Days = None,
    max_uses: Uses = None,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Sign a consent for one trainer and have a relayer put it on chain. You need no gas."""
    return _signed(screen, asset, purpose, days, max_uses, passphrase_file, to)


@command(app, "take")
def take(
    screen: Screen,
    name: Annotated[
        str, typer.Argument(metavar="OFFER", help="The offer: its number in the list, or the start of its 0x name.")
    ],
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """Take an open offer, in a transaction of your own."""
    from allod.trainer import find_consent, take_offer

    with world_of(screen) as world:
        account = unlock(screen, world, passphrase_file).account
        found = find_consent(world, name, account.address)
        consent_id = take_offer(world, account, found)
        sent = world.sent[-1]
        data = {"token": to_hex(consent_id), "transaction": to_hex(sent.tx_hash), "gas": sent.gas}
    return Shown(data, [f"You hold token {data['token']}."])


@command(app, "list")
def list_(screen: Screen) -> Shown:
    """Consents you gave, consents you hold, and open offers, each with what the chain says of it now."""
    from allod.trainer import read_row
    from consent.market import granting
    from consent.validity import check_token

    with world_of(screen) as world:
        me = who(screen, world).address
        items = []
        for number, row in enumerate(world.consents.consents(), start=1):
            signed: SignedConsent = read_row(row)
            given = signed.consent
            if me not in (given.owner, given.grantee) and not given.is_offer:
                continue
            item = {"number": number} | describe(world, given, row.digest)
            holder = me if given.is_offer and given.owner != me else given.grantee
            if given.is_offer and given.owner == me:
                item["state"] = "revoked" if _ended(world, given) else "open to all"
            else:
                status = granting.status(world.market, given, holder)
                reasons = check_token([255 if status is None else status], counted=False)
                item["token"] = to_hex(granting.consent_id(world.market, given, holder))
                item["state"] = reasons[0] if reasons else "live"
                if given.is_offer and status == 1:
                    item["state"] = "on offer"
            items.append(item)
    rows = [
        [item["number"], item["consent"][:18] + "…", item["kind"], item["purpose"], item["state"]] for item in items
    ]
    columns = ["#", "consent", "kind", "purpose", "state"]
    return Shown({"consents": items}, [table("Consents", columns, rows, numbers=[0])])


def _ended(world: World, given: Consent) -> bool:
    token = world.market.token
    word = int(token.read("revoked_words", given.owner, given.word))
    return bool(word >> given.bit & 1) or int(token.read("epochs", given.owner)) != given.epoch


@command(app, "revoke")
def revoke(
    screen: Screen,
    names: Annotated[list[str] | None, typer.Argument(metavar="CONSENT…", help="As the list names them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every consent of yours at once.")] = False,
    passphrase_file: PassphraseFile = None,
) -> Shown:
    """End consents: the keepers store it first, then the chain. A revoked offer ends every taker's token."""
    from allod.owner import end_all, end_consents
    from allod.trainer import find_consent

    if everything == bool(names):
        raise InvalidInput("Name the consents to end, or say --all.", hint="`allod consent list` shows them.")
    with opened(screen, passphrase_file) as (world, owner, found):
        chosen = [find_consent(world, name).consent for name in names or []]
        done = end_all(world, owner, found) if everything else end_consents(world, owner, chosen)
        data = {
            "revoked": "all" if everything else [to_hex(one.asset) for one in chosen],
            "keepers_stored": done.stored,
            "keepers_needed": done.needed,
            "transactions": [to_hex(sent.tx_hash) for sent in done.sent],
        }
    lines = [
        f"Revoked. {done.stored} keepers stored it; {done.needed} make it certain for every future release.",
        "What was released before cannot be recalled; a running job stops using the data within 10 s or 20 steps.",
    ]
    if done.stored < done.needed:
        lines.append("[yellow]Too few keepers answered: until the transaction's block, it may not count.[/yellow]")
    return Shown(data, lines)
