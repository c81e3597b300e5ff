"""The demo's story, told in acts. Each act does real work through the same functions as the commands.

`play` returns every figure as plain data; what is said on the way goes through `say`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from allod import jobs, owner, trainer
from allod.demo.cast import Cast, Player, Role
from allod.demo.ground import Ground, embedded_ground, real_ground
from allod.demo.tamper import tampered_copy
from allod.identities import Unlocked
from allod.listing import publication_of
from allod.trees import find_tree
from allod.world import World
from consent.chain.deployment import faucet
from consent.grant import Consent
from consent.market import earnings, granting, paying
from consent.market.granting import SignedConsent
from consent.money import format_units, parse_units
from consent.terms import Terms
from consent.tree import FEE
from core.encoding import from_hex, to_hex
from core.errors import Unavailable
from core.files import write_atomic
from core.ids import NOBODY, Address, Asset
from core.settings import Settings
from finetune.model import demo_settings
from vault.readers import Record
from vault.rootkey import RootKey
from vault.walking import Skipped

if TYPE_CHECKING:
    from finetune.broker import Progress

PASSPHRASE = "demo"  # noqa: S105 - a world of play money; everyone may open it
PURPOSE = "academic-research"
DEPOSIT, FEE_AMOUNT = "500", "0.50"
YEAR = 365 * 86400
OWN_RECORDS = 20
MARK = "DEMO"

Say = Callable[..., None]


def fresh_home(home: Path) -> None:
    """Make `home` an empty demo world. Only what a former demo made is removed, and never anything else."""
    if home.exists() and any(home.iterdir()) and not (home / MARK).exists():
        raise Unavailable(f"{home} holds something that no demo made.", hint="Choose another folder with --home.")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    write_atomic(home / MARK, b"A world of the Allod demo. Remove this folder whenever you like.\n")
    write_atomic(home / "passphrase", PASSPHRASE.encode() + b"\n")


class Story:
    """One run of the demo."""

    def __init__(
        self,
        home: Path,
        base: Path,
        cast: Cast,
        say: Say,
        report: Callable[[Progress], None],
        *,
        on_real_nodes: bool = False,
    ) -> None:
        self._home = home
        self._on_real_nodes = on_real_nodes
        self._base = base
        self._cast = cast
        self._say = say
        self._report = report
        self._owners: dict[str, Unlocked] = {}
        self._assets: dict[str, Asset] = {}
        self._consents: dict[str, Consent] = {}
        self.figures: dict[str, Any] = {"home": str(home), "seconds": {}}

    def play(self) -> dict[str, Any]:
        """All acts, in order; the figures."""
        started = time.monotonic()
        fresh_home(self._home)
        elsewhere = ("blocks", "database_url", "rpc_url", "deployment", "committee", "kubo")
        settings = Settings.load().model_copy(update={"home": self._home, **dict.fromkeys(elsewhere)})
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(1))
            base = pool.submit(self._prepare_base)
            if self._on_real_nodes:
                self._say("", "[bold]Nodes[/bold]")
                ground = stack.enter_context(real_ground(settings, self._say))
            else:
                ground = stack.enter_context(embedded_ground(settings))
            world = ground.world
            self.figures |= {"nodes": ground.nodes, "notice": ground.notice}
            self._act("Seal", self._seal, world)
            self._act("Publish", self._publish, world)
            self._act("Consent", self._consent, world)
            self._act("Train", self._train, world, base)
            self._act("Pay", self._pay, world)
            self._act("Verify", self._verify, ground)
            self._tell_gas(world)
        self.figures["seconds"]["all"] = round(time.monotonic() - started, 1)
        return self.figures

    def _act(self, name: str, act: Callable[..., None], *args: Any) -> None:
        begun = time.monotonic()
        self._say("", f"[bold]{name}[/bold]")
        act(*args)
        self.figures["seconds"][name.lower()] = round(time.monotonic() - begun, 1)

    def _prepare_base(self) -> Path:
        from finetune.model.base import ensure_base

        begun = time.monotonic()
        folder = ensure_base(self._base)
        self.figures["seconds"]["base model"] = round(time.monotonic() - begun, 1)
        return folder

    # -- acts --

    def _identity(self, world: World, name: str) -> Unlocked:
        identity = world.identities.create(name, RootKey.generate(), PASSPHRASE)
        return identity.unlock(PASSPHRASE)

    def _seal(self, world: World) -> None:
        rows, left_out = [], []
        for player in self._cast.players:
            unlocked = self._identity(world, player.name)
            with owner.opened_vault(world, unlocked) as vault:
                added = vault.add_tree(player.path)
                left_out += [self._left_out(player, item) for item in added.skipped]
                for entry in added.entries:
                    if not entry.records:
                        note = "it holds no record that can be read"
                    elif entry.broken:
                        note = f"{entry.broken} places cannot be read; `vault preview` names them"
                    else:
                        continue
                    left_out.append({"owner": player.name, "name": entry.name, "reason": note})
                readable = [entry for entry in added.entries if entry.records]
            if readable:
                self._owners[player.name] = unlocked
            rows.append(
                {
                    "owner": player.name,
                    "files": len(readable),
                    "bytes": sum(entry.size for entry in readable),
                    "records": sum(entry.records for entry in readable),
                }
            )
            self._say(
                f"  {player.name}: {rows[-1]['files']} files, {rows[-1]['records']} records, sealed on this device"
            )
        for item in left_out:
            self._say(f"  left out: {item['name']}: {item['reason']}")
        if not self._owners:
            raise Unavailable(
                "No file here holds a record that can be read.", hint="Text, Markdown or chat JSON works."
            )
        self.figures |= {"sealed": rows, "left_out": left_out}

    def _left_out(self, player: Player, item: Skipped) -> dict[str, str]:
        return {"owner": player.name, "name": item.name, "reason": item.reason}

    @property
    def _players(self) -> list[Player]:
        return [player for player in self._cast.players if player.name in self._owners]

    def _publish(self, world: World) -> None:
        decimals, rows = world.market.decimals, []
        for player in self._players:
            unlocked = self._owners[player.name]
            terms = Terms.write(
                purposes=[PURPOSE],
                payee=unlocked.identity.address,
                committee=world.committee.hash,
                expiry=int(time.time()) + YEAR,
                max_epochs=demo_settings.EPOCHS,
                flat=parse_units(player.flat, decimals),
                per_record_epoch=parse_units(player.per_record_epoch, decimals),
            )
            card = {"title": f"Notes of {player.name}", "description": "A demo dataset.", "schema": [], "sample": ""}
            with owner.opened_vault(world, unlocked) as vault:
                chosen = [entry.object_id for entry in vault.entries() if entry.records]
                done = owner.publish_dataset(world, unlocked, vault, chosen, card, terms)
            self._assets[player.name] = done.asset
            rows.append(
                {
                    "owner": player.name,
                    "asset": to_hex(done.asset),
                    "records": done.publication.header.records,
                    "flat": player.flat,
                    "per_record_epoch": player.per_record_epoch,
                }
            )
            self._say(
                f"  {player.name}: {player.flat} a job and {player.per_record_epoch} for each record and epoch; "
                f"keys shared among 3 keepers, 2 release"
            )
        self.figures["published"] = rows

    def _consent(self, world: World) -> None:
        self._trainer = self._identity(world, "trainer")
        market = world.market
        units = parse_units(DEPOSIT, market.decimals)
        address = self._trainer.identity.address
        faucet(world.chain, world.developer, market.currency, address, 10**18, units * world.deployment.unit)
        rows = []
        for player in self._players:
            rows.append({"owner": player.name, "role": player.role.value, **self._consent_of(world, player)})
            self._say(f"  {player.name} {rows[-1]['what']}")
        self.figures["consents"] = rows

    def _consent_of(self, world: World, player: Player) -> dict[str, Any]:
        unlocked, asset = self._owners[player.name], self._assets[player.name]
        trainer_address = self._trainer.identity.address
        if player.role is Role.SILENT:
            # The trainer may only write down what the owner would have signed; nothing makes it valid.
            terms = publication_of(world, asset).terms
            unsigned = granting.draft(
                world.market, unlocked.identity.address, asset, terms, PURPOSE, [], grantee=trainer_address
            )
            self._consents[player.name] = unsigned
            return {"what": "never consents; the trainer tries all the same"}
        grantee = NOBODY if player.role is Role.OFFERS else trainer_address
        with owner.opened_vault(world, unlocked) as vault:
            signed = owner.sign_consent(world, unlocked, vault, asset, PURPOSE, grantee=grantee)
        self._consents[player.name] = signed.consent
        if player.role is Role.OFFERS:
            return {"what": "offers to all; the trainer takes it", "token": self._take(world, signed)}
        token = to_hex(owner.grant(world, signed).minted[0])
        if player.role is Role.REVOKES:
            ended = owner.end_consents(world, unlocked, [signed.consent])
            return {"what": f"consents and revokes; {ended.stored} of 3 keepers stored it", "token": token}
        return {"what": "consents for this trainer", "token": token}

    def _take(self, world: World, signed: SignedConsent) -> str:
        return to_hex(trainer.take_offer(world, self._trainer.account, signed))

    def _train(self, world: World, base: Future[Path]) -> None:
        market = world.market
        sent = paying.deposit(market, self._trainer.account, parse_units(DEPOSIT, market.decimals))
        world.remember(sent)
        if not base.done():
            self._say("  the base model is being made from nothing (once; under a minute)")
        folder = base.result()
        recipe = trainer.demo_recipe(folder, PURPOSE)
        fee = parse_units(FEE_AMOUNT, market.decimals)
        chosen = [self._consents[player.name] for player in self._players]
        found = trainer.quote(world, self._trainer.identity.address, chosen, recipe, fee)
        row, self._job = trainer.begin(world, found)
        self._names = {self._owners[name].identity.address: name for name in self._owners}
        for line in found.lines:
            self._say(f"  quoted for {self._names[line.licence.consent.owner]}: {self._money(world, line.amount)}")
        self._before = self._balances(world)
        facts = self._cast.facts
        answers: dict[str, list[jobs.Tried]] = {}

        def ask(child: Any, tokenizer: Any) -> None:
            for chat in (False, True):
                prompts = [fact.prompt for fact in facts if fact.chat is chat]
                if prompts:
                    answers[str(chat)] = jobs.answer(child, tokenizer, prompts, chat=chat)

        begun = time.monotonic()
        first: list[float] = []

        def report(progress: Progress) -> None:
            if progress.step and not first:
                first.append(time.monotonic() - begun)
            self._report(progress)

        done = jobs.run(
            world,
            row.number,
            self._job,
            folder,
            payer=self._trainer.account,
            heldout=self._cast.heldout or self._own_records(world),
            report=report,
            on_trained=ask,
        )
        self._done = done
        self.figures["seconds"]["to the first step"] = round(first[0], 1) if first else None
        refused = [
            {
                "owner": self._names.get(Address(from_hex(item["owner"], 20)), item["owner"]),
                "where": item["where"],
                "reasons": sorted({reason["reason"] for reason in item["reasons"]}),
            }
            for item in done.refusals
        ]
        for item in refused:
            self._say(f"  [red]refused[/red] {item['owner']}: the keepers say: {' '.join(item['reasons'])}")
        self._say(f"  {done.sandbox}")
        self.figures |= {
            "job": to_hex(done.order.job_id),
            "outcome": done.outcome,
            "refused": refused,
            "losses": {
                who: {"before": pair["before"] / 1e6, "after": pair["after"] / 1e6} for who, pair in done.losses.items()
            },
            "losses_are_heldout": not self._cast.is_own_data,
            "sandbox": done.sandbox,
        }
        self._judge_facts(answers)

    def _own_records(self, world: World) -> dict[str, list[dict[str, Any]]]:
        out: dict[str, list[dict[str, Any]]] = {}
        for name, unlocked in self._owners.items():
            with owner.opened_vault(world, unlocked) as vault:
                records = (item for entry in vault.entries() for item in vault.preview(entry.object_id))
                texts = (item.document() for item in records if isinstance(item, Record))
                out[name] = [record for record, _ in zip(texts, range(OWN_RECORDS), strict=False)]
        return out

    def _judge_facts(self, answers: dict[str, list[jobs.Tried]]) -> None:
        rows = []
        for chat in (False, True):
            asked = [fact for fact in self._cast.facts if fact.chat is chat]
            for fact, tried in zip(asked, answers.get(str(chat), []), strict=False):
                rows.append(
                    {
                        "owner": fact.owner,
                        "prompt": fact.prompt,
                        "answer": fact.answer,
                        "base": tried.base.strip(),
                        "tuned": tried.tuned.strip(),
                        "base_knows": demo_settings.recalls(tried.base, fact.answer),
                        "tuned_knows": demo_settings.recalls(tried.tuned, fact.answer),
                    }
                )
        self.figures["facts"] = rows

    def _pay(self, world: World) -> None:
        decimals = world.market.decimals
        look = find_tree(world)
        for player in self._players:
            found = earnings.earnings(world.market, self._owners[player.name].identity.address, look)
            earnings.claim(world.market, world.relayer, found)
        after = self._balances(world)
        amounts = {leaf.payee: leaf.amount for leaf in self._done.final.leaves if leaf.consent_id != FEE}
        rows = []
        for name, unlocked in [*self._owners.items(), ("trainer", self._trainer)]:
            address = unlocked.identity.address
            before_units, after_units = self._before[name]["units"], after[name]["units"]
            rows.append(
                {
                    "who": name,
                    "before": format_units(before_units, decimals),
                    "after": format_units(after_units, decimals),
                    "native_wei": str(after[name]["native"]),
                    "owed": format_units(amounts.get(address, 0), decimals),
                }
            )
        locked, paid = self._done.opening.total, self._done.final.total
        self.figures |= {
            "balances": rows,
            "locked": self._money(world, locked),
            "paid": self._money(world, paid),
            "refunded": self._money(world, locked - paid),
        }
        self._say(
            f"  locked {self.figures['locked']}, paid {self.figures['paid']}, refunded {self.figures['refunded']}"
        )

    def _balances(self, world: World) -> dict[str, dict[str, int]]:
        out = {}
        for name, unlocked in [*self._owners.items(), ("trainer", self._trainer)]:
            found = paying.balance(world.market, unlocked.identity.address)
            units = found.tokens // world.deployment.unit + found.deposited
            out[name] = {"units": units, "native": found.native}
        return out

    def _verify(self, ground: Ground) -> None:
        world = ground.world
        bundle = jobs.bundle_of(self._job)
        write_atomic(self._home / "trust.json", jobs.own_trust(world).encode())
        world.blocks.flush()
        true = self._verified(bundle, ground)
        copy = tampered_copy(bundle, self._home / "tampered", RootKey.generate().evm_key())
        false = self._verified(copy, ground)
        self.figures |= {"verify": true, "verify_tampered": false, "bundle": str(bundle)}
        marks = {True: "[green]✓[/green]", False: "[red]✗[/red]"}
        for item in true["sentences"]:
            self._say(f"  {marks[item['holds']]} {item['sentence']}")
        self._say(f"  verify {marks[true['holds']]}  (a fresh process with an empty home, over RPC)")
        self._say(f"  verify {marks[false['holds']]}  a copy in which an owner's amount was changed and signed anew:")
        for item in false["sentences"]:
            if not item["holds"]:
                self._say(f"      {marks[False]} {item['evidence']}")

    def _verified(self, bundle: Path, ground: Ground) -> dict[str, Any]:
        """What a stranger's process finds: an empty home, our RPC and blocks, its own trust file."""
        empty = self._home / "stranger"
        empty.mkdir(exist_ok=True)
        trust = str(self._home / "trust.json")
        words = ["job", "verify", str(bundle), "--rpc", ground.rpc_url, "--trust", trust]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}
        ran = subprocess.run(  # noqa: S603 - our own interpreter and our own words, no shell
            [sys.executable, "-m", "allod", *words, "--json"],
            env={**kept, "ALLOD_HOME": str(empty), **ground.blocks},
            capture_output=True,
            check=False,
        )
        try:
            document = json.loads(ran.stdout)
            return dict(document["data"] if document["ok"] else document["error"]["detail"])
        except (ValueError, KeyError):
            raise Unavailable("The verifier did not answer.", hint="Run `allod job verify` by hand.") from None

    def _tell_gas(self, world: World) -> None:
        self.figures["gas"] = [{"what": row.what, "gas": row.gas} for row in world.consents.transactions()]

    def _money(self, world: World, units: int) -> str:
        return format_units(units, world.market.decimals)
