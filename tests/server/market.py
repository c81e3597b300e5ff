"""What owners and trainers do through the API, with the Python classes behind their signatures."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from allod.relaying import Relay
from allod.trees import lay_down
from allod.world import World
from consent.chain.deployment import faucet
from consent.grant import Consent
from consent.keeper.revocation import Revoke
from consent.market.lanes import free_lane
from consent.market.paying import deposit, open_job
from consent.market.publish import Prepared, prepare
from consent.order import Order
from consent.purposes import purpose
from consent.terms import Terms
from consent.tree import Leaf, SumTree
from consent.typed import register_digest, revoke_all_digest, revoke_nonces_digest
from core.encoding import to_hex
from core.ids import NOBODY, Address
from tests.server.people import Person
from vault.keys import RootKey
from vault.manifest import digest as header_digest
from vault.vault import Vault

DAY = 86_400
PURPOSE = "academic-research"
CARD = {"title": "Ferry times", "description": "When it leaves.", "schema": ["text/plain"], "sample": "At noon."}
_keys = itertools.count()


def key() -> dict[str, str]:
    """A new Idempotency-Key."""
    return {"Idempotency-Key": f"test-key-{next(_keys)}"}


def ok(answer: Any, status: int = 200) -> dict[str, Any]:
    """The document of an answer of this status."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    return dict(answer.json())


def refused(answer: Any, status: int, words: str) -> dict[str, Any]:
    """The problem of an answer of this status whose detail or hint holds these words."""
    found = ok(answer, status)
    assert words in found["detail"] + found["hint"], found
    return found


class Owner:
    """An owner with a vault in this process; everything else goes through the API."""

    def __init__(self, world: World, person: Person, address: Address | None = None) -> None:
        """`address` is that of a contract wallet which the person's key signs for."""
        self.world = world
        self.address = address or person.account.address
        self.person = person
        self.http = person.http
        self.vault = Vault(RootKey.generate(), _vault_id(person), world.blocks)
        self.signed: list[Consent] = []

    def terms(self, **changes: Any) -> Terms:
        values: dict[str, Any] = {
            "purposes": [PURPOSE],
            "payee": self.address,
            "committee": self.world.committee.hash,
            "expiry": int(time.time()) + 100 * DAY,
            "max_epochs": 10,
            "flat": 1_000,
            "per_record_epoch": 5,
        }
        return Terms.write(**{**values, **changes})

    def prepared(self, terms: Terms | None = None, card: Mapping[str, Any] = CARD, text: str = "At six.\n") -> Prepared:
        """A publication among the blocks, not registered; the same text is the same dataset."""
        entries = {entry.name: entry for entry in self.vault.entries()}
        entry = entries.get(text.strip()) or self.vault.add_bytes(text.strip(), text.encode())
        committee = self.world.committee
        return prepare(
            self.world.market,
            self.vault,
            self.world.blocks,
            self.address,
            [entry.object_id],
            card,
            terms or self.terms(),
            committee,
            [committee.hash],
        )

    def register_signature(self, made: Prepared) -> str:
        market, header = self.world.market, header_digest(made.publication.header)
        digest = register_digest(
            market.chain_id, market.registry.address, self.address, header, made.publication.terms.hash
        )
        return to_hex(self.person.account.sign_hash(digest))

    def post_dataset(self, made: Prepared, **changes: Any) -> Any:
        body = {"publication": str(made.cid), "signature": self.register_signature(made), **changes}
        return self.http.post("/v1/datasets", json=body, headers=key())

    def publish(self, terms: Terms | None = None, **other: Any) -> Prepared:
        """A dataset that is registered and listed."""
        made = self.prepared(terms, **other)
        ok(self.post_dataset(made), 202)
        work(self.world)
        return made

    def next_nonce(self) -> int:
        above = max((consent.nonce & (2**64 - 1) for consent in self.signed), default=-1)
        return int(ok(self.http.post("/v1/consent_nonces", json={"above": str(above)}), 201)["nonce"])

    def consent(self, made: Prepared, grantee: Address = NOBODY, **changes: Any) -> Consent:
        terms = made.publication.terms
        values: dict[str, Any] = {
            "owner": self.address,
            "grantee": grantee,
            "asset": made.asset,
            "terms": terms.hash,
            "purpose": purpose(PURPOSE).hash,
            "runner": terms.runner,
            "escrow": self.world.market.escrow.address,
            "not_before": int(time.time()) - 60,
            "expiry": terms.expiry,
            "max_uses": terms.max_uses,
        }
        nonce = changes.pop("nonce", None)
        consent = Consent(nonce=self.next_nonce() if nonce is None else nonce, **{**values, **changes})
        self.signed.append(consent)
        return consent

    def sign(self, consent: Consent) -> bytes:
        market = self.world.market
        return self.person.account.sign_hash(consent.digest(market.chain_id, market.token.address))

    def post_consent(self, consent: Consent, request: str | None = None, signature: bytes | None = None) -> Any:
        body = {"consent": fields(consent), "signature": to_hex(signature or self.sign(consent)), "request": request}
        return self.http.post("/v1/consents", json=body, headers=key())

    def post_revocation(self, body: Mapping[str, Any], digest: bytes) -> Any:
        return self.http.post("/v1/revocations", json=self.signed_body(body, digest), headers=key())

    def signed_body(self, body: Mapping[str, Any], digest: bytes) -> dict[str, Any]:
        signature = to_hex(self.person.account.sign_hash(digest))
        return {"owner": to_hex(self.address), "signature": signature, **body}

    def revoke(self, tokens: Sequence[tuple[Consent, Address]]) -> Any:
        market = self.world.market
        ids = tuple(consent.id(market.chain_id, market.token.address, holder) for consent, holder in tokens)
        body = {
            "kind": "revoke",
            "consents": [fields(consent) for consent, _ in tokens],
            "holders": [to_hex(holder) for _, holder in tokens],
        }
        digest = Revoke(self.address, ids).digest(market.chain_id, market.token.address)
        return self.post_revocation(body, digest)

    def revoke_nonces(self, consent: Consent, others: int = 0) -> Any:
        """End its nonce, and others of its word by their mask."""
        return self.http.post("/v1/revocations", json=self.revoke_nonces_body(consent, others), headers=key())

    def revoke_nonces_body(self, consent: Consent, others: int = 0) -> dict[str, Any]:
        market, mask = self.world.market, 1 << consent.bit | others
        digest = revoke_nonces_digest(market.chain_id, market.token.address, self.address, consent.word, mask)
        body = {"kind": "revoke_nonces", "word": str(consent.word), "mask": to_hex(mask.to_bytes(32, "big"))}
        return self.signed_body(body, digest)

    def revoke_all(self, epoch: int) -> Any:
        market = self.world.market
        digest = revoke_all_digest(market.chain_id, market.token.address, self.address, epoch)
        return self.post_revocation({"kind": "revoke_all", "epoch": epoch}, digest)

    def operation(self, operation: Mapping[str, Any]) -> dict[str, Any]:
        return ok(self.http.get(f"/v1/operations/{operation['id']}"))


def _vault_id(person: Person) -> Any:
    return person.name.encode().rjust(32, b"\x07")


def fields(consent: Consent) -> dict[str, Any]:
    """A consent as the API takes it."""
    from allod.consentlist import consent_fields

    return consent_fields(consent)


def work(world: World) -> None:
    """What the relay's thread does, once."""
    Relay(world).work()


def ask_for(made: Prepared, **changes: Any) -> dict[str, Any]:
    """The body of a request for this dataset, as its terms would allow it."""
    return {
        "asset": to_hex(made.asset),
        "purpose": PURPOSE,
        "max_epochs": 3,
        "base_models": [],
        "max_uses": 2,
        "expiry": int(time.time()) + 10 * DAY,
        "flat": "1000",
        "per_record_epoch": "5",
        "message": "For a paper.",
        "days_open": 7,
        **changes,
    }


def approved(owner: Owner, trainer: Person) -> tuple[Prepared, dict[str, Any], Consent, dict[str, Any]]:
    """A dataset that a trainer asked for, the request, the consent in answer, and the operation that grants it."""
    made = owner.publish()
    request = ok(trainer.http.post("/v1/requests", json=ask_for(made), headers=key()), 201)
    consent = owner.consent(made, trainer.account.address)
    return made, request, consent, ok(owner.post_consent(consent, request["id"]), 202)


def fund(world: World, trainer: Person) -> None:
    """Give a trainer play money, for gas and for jobs."""
    faucet(world.chain, world.developer, world.market.currency, trainer.account.address, 10**18, 10**20)


def open_a_job(world: World, trainer: Person, owed: list[tuple[bytes, Person, int]]) -> Order:
    """A job that pays these consents, opened on the escrow; its tree lies among the blocks."""
    market = world.market
    lane, former = free_lane(market, trainer.account.address)
    tree = SumTree([Leaf(token, person.account.address, amount) for token, person, amount in owed])
    deposit(market, trainer.account, tree.total)
    runner, committee = world.developer.address, world.committee
    order = Order(
        chain_id=market.chain_id,
        escrow=market.escrow.address,
        payer=trainer.account.address,
        lane=lane,
        opened=0,
        start=world.chain.block().timestamp + 2 * DAY,
        runner=runner,
        recipe_hash=bytes(32),
        job_pk=bytes(1216),
        fee=0,
        q=committee.q,
        keepers=committee.addresses,
        root=tree.root,
        counted=(),
    )
    lay_down(world.blocks, tree)
    opened, _ = open_job(market, trainer.account, order, [], former)
    return opened
