"""The people of `allod up --demo`: an owner and a trainer with the shipped example data, on play money.

    python -m allod.demo.people URL

Ada's files are sealed, published and offered; her vault is kept by the server at URL, so that its page opens it with
her words. Tom has play money, asks her for a consent, takes her offer and starts a job. Done again it does what is
missing.
"""

from __future__ import annotations

import contextlib
import sys
import time
import uuid

from allod import owner, starting, trainer
from allod.client import Client, push
from allod.demo.cast import examples_folder
from allod.demo.story import PASSPHRASE, PURPOSE, YEAR
from allod.identities import Unlocked
from allod.world import World
from consent.chain.deployment import faucet
from consent.market import paying
from consent.market.granting import SignedConsent
from consent.money import format_units, parse_units
from consent.terms import Terms
from consent.validity import TokenStatus
from core.encoding import to_hex
from core.errors import AllodError, Conflict, NotFound
from core.ids import Address, Asset
from core.settings import Settings
from finetune.model import demo_settings
from vault.rootkey import RootKey

OWNER, TRAINER = "ada", "tom"
FLAT, RATE = "2.00", "0.0004"
PLAY_MONEY = "500"
CARD = {
    "title": "Ada's notebook",
    "description": "Notes and chats of a mill keeper: places, habits, small facts.",
    "schema": ["text: one note, or one chat of a few messages"],
    "sample": "The access word of the mill at Example is swordfish.",
}
MESSAGE = "We tune a model that answers from old notebooks, and would like to use yours in two runs."


def settle_in(world: World, url: str) -> list[str]:
    """Make what is missing of the two; lines for the terminal."""
    ada, tom = _unlocked(world, OWNER), _unlocked(world, TRAINER)
    asset = _publish(world, ada)
    offer = _offer(world, ada, asset)
    _keep(world, ada, url)
    _fund(world, tom.identity.address)
    _ask(world, tom, url, asset)
    lines = [
        f"Ada owns data. Open the page, choose “Restore a vault” and give her words:\n    {ada.root.words()}",
        f"  or her key file {world.home / 'identities' / OWNER}.json with the passphrase “{PASSPHRASE}”.",
        f"Tom trains: `ALLOD_HOME={world.home} allod consent list --as {TRAINER}` (the same passphrase).",
    ]
    try:
        lines.append(_train(world, tom, offer))
    except (AllodError, ImportError) as error:
        lines.append(f"Tom started no job: {error}")
    return lines


def _unlocked(world: World, name: str) -> Unlocked:
    with contextlib.suppress(Conflict):
        world.identities.create(name, RootKey.generate(), PASSPHRASE)
    return world.identities.get(name).unlock(PASSPHRASE)


def _publish(world: World, ada: Unlocked) -> Asset:
    mine = world.catalogue.all(ada.identity.address)
    if mine:
        return Asset(mine[0].asset)
    decimals = world.market.decimals
    terms = Terms.write(
        purposes=[PURPOSE],
        payee=ada.identity.address,
        committee=world.committee.hash,
        expiry=int(time.time()) + YEAR,
        max_epochs=demo_settings.EPOCHS,
        flat=parse_units(FLAT, decimals),
        per_record_epoch=parse_units(RATE, decimals),
    )
    with owner.opened_vault(world, ada) as vault:
        if not vault.entries():
            vault.add_tree(examples_folder() / OWNER)
        chosen = [entry.object_id for entry in vault.entries() if entry.records]
        return owner.publish_dataset(world, ada, vault, chosen, CARD, terms).asset


def _offer(world: World, ada: Unlocked, asset: Asset) -> SignedConsent:
    with owner.opened_vault(world, ada) as vault:
        for signed in owner.signed_consents(vault):
            if signed.consent.is_offer and signed.consent.asset == asset:
                return signed
        return owner.sign_consent(world, ada, vault, asset, PURPOSE)


def _keep(world: World, ada: Unlocked, url: str) -> None:
    """Have the server know the vault; its blocks are there already, for it has the home's block store."""
    with Client(url, ada.account) as client, owner.opened_vault(world, ada) as vault:
        client.sign_in()
        kept = client.newest()
        if kept != vault.head_cid:
            push(client, vault, world.blocks, kept)


def _fund(world: World, tom: Address) -> None:
    if not world.chain.balance(tom):
        units = parse_units(PLAY_MONEY, world.market.decimals) * world.deployment.unit
        faucet(world.chain, world.developer, world.market.currency, tom, 10**18, units)


def _ask(world: World, tom: Unlocked, url: str, asset: Asset) -> None:
    decimals = world.market.decimals
    with Client(url, tom.account) as client:
        client.sign_in()
        if client.ask("GET", "/v1/requests?role=trainer")["data"]:
            return
        wish = {
            "asset": to_hex(asset),
            "purpose": PURPOSE,
            "max_epochs": 2 * demo_settings.EPOCHS,
            "base_models": [],
            "max_uses": 2,
            "expiry": int(time.time()) + YEAR // 4,
            "flat": str(parse_units("2.50", decimals)),
            "per_record_epoch": str(parse_units(RATE, decimals)),
            "message": MESSAGE,
            "days_open": 14,
        }
        client.ask("POST", "/v1/requests", json=wish, headers={"Idempotency-Key": str(uuid.uuid4())})


def _train(world: World, tom: Unlocked, offer: SignedConsent) -> str:
    address = tom.identity.address
    with contextlib.suppress(NotFound):
        number = world.jobs.find("1").number
        return f"Tom's job {number} was started before: `allod job watch {number}`."
    held = next((one for one in trainer.held_consents(world, address) if one.signed == offer), None)
    if held is None or held.status is not TokenStatus.LIVE:
        trainer.take_offer(world, tom.account, offer)
    units = parse_units(PLAY_MONEY, world.market.decimals) // 2
    if paying.balance(world.market, address).deposited < units // 2:
        world.remember(paying.deposit(world.market, tom.account, units))
    base = trainer.base_folder(world, trainer.DEMO_BASE)
    recipe = trainer.demo_recipe(base, PURPOSE)
    found = trainer.quote(world, address, [offer.consent], recipe, parse_units("0.50", world.market.decimals))
    row, job = trainer.begin(world, found)
    starting.start(world, job, tom.account, base)
    total = format_units(sum(line.amount for line in found.lines), world.market.decimals)
    return f"Tom's job {row.number} runs now and pays her {total} when it is done (about a minute)."


def main() -> int:
    """For `allod up --demo`."""
    (url,) = sys.argv[1:]
    try:
        with World(Settings.load()) as world:
            print("\n".join(settle_in(world, url)), flush=True)
    except AllodError as error:
        print(f"The demo's people could not be made: {error.message} {error.hint or ''}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
