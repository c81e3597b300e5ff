"""The raw evidence of each sentence of a verification report, and how to check it without this program's word.

`raw_of` gives hashes, addresses, blocks, transactions and signatures as JSON, whether the sentence holds or not;
`how_to_check` gives commands for an RPC endpoint of one's own (`$RPC`) and the unpacked bundle (`$BUNDLE`): Foundry's
`cast`, `sha256sum`, `model_signing`. Both say what is there and judge nothing. Long lists are cut at `SHOWN`, with the
whole count beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from consent.chain.contract import Event
from consent.tree import SumTree
from core.encoding import encode_json, to_hex
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE
from finetune.provenance import ADAPTER, STATEMENT, fee_of, statement_hash
from finetune.sentences import Case

SHOWN = 100  # items of one list
LIMIT = 1 << 20  # bytes of one sentence's evidence
WHOLE = 'allod job verify "$BUNDLE" --rpc "$RPC" --trust trust.json'
"""Checks every sentence at once; trust.json is what the verifier accepts, docs/format/72-provenance.md."""


def raw_of(slug: str, case: Case) -> dict[str, Any]:
    """What a sentence rests on; empty where the bundle or the chain does not give it."""
    with suppress(Exception):  # whatever a hostile bundle does here, the sentence itself says that it does not hold
        raw = _RAW[slug](case)
        return raw if len(encode_json(raw)) <= LIMIT else {"too_large": True}
    return {}


def how_to_check(slug: str, raw: dict[str, Any]) -> str:
    """Commands, one a line, that show the evidence of a sentence; the last one checks the whole bundle."""
    lines: list[str] = []
    with suppress(Exception):
        lines += _HOW[slug](raw)
    return "\n".join([*lines, WHOLE])


def _cut(name: str, items: Iterable[Any], count: int) -> dict[str, Any]:
    return {name: list(islice(items, SHOWN)), f"{name}_count": count}


def _place_of(event: Event | None) -> dict[str, Any] | None:
    return None if event is None else {"block": event.block_number, "tx_hash": to_hex(event.tx_hash)}


def _place(case: Case) -> dict[str, Any]:
    trust = case.trust
    return {
        "chain_id": case.chain.chain_id,
        "escrow": to_hex(case.bundle.order.escrow),
        "accepted": {
            "chain_id": trust.chain_id,
            "registry": to_hex(trust.registry),
            "consent_token": to_hex(trust.consent_token),
            "escrow": to_hex(trust.escrow),
        },
    }


def _committee(case: Case) -> dict[str, Any]:
    committee = case.bundle.committee
    return {
        "committee": to_hex(committee.hash),
        "id": to_hex(committee.id),
        "accepted": [to_hex(one) for one in case.trust.committees[:SHOWN]],
        "t": committee.t,
        "n": committee.n,
        "q": committee.q,
        "keepers": [to_hex(one) for one in committee.addresses],
        "document": committee.encode().decode(),
    }


def _order(case: Case) -> dict[str, Any]:
    order = case.bundle.order
    return {
        "job_id": to_hex(order.job_id),
        "escrow": to_hex(order.escrow),
        "payer": to_hex(order.payer),
        "lane": str(order.lane),
        "opened": order.opened,
        "start": order.start,
        "runner": to_hex(order.runner),
        "spec": to_hex(order.spec),
        "root": _word(order.root),
        "counted": to_hex(order.counted_hash),
        "event": _place_of(case.opened),
    }


def _recipe(case: Case) -> dict[str, Any]:
    recipe = case.bundle.recipe
    return {
        "recipe_hash": to_hex(recipe.hash),
        "committed_to": to_hex(case.bundle.order.recipe_hash),
        "base_model": recipe.base_name,
        "base_hash": to_hex(recipe.base_hash),
        "document": recipe.encode().decode(),
    }


def _opening(case: Case) -> dict[str, Any]:
    order = case.bundle.order
    head = {"payer": to_hex(order.payer), "lane": str(order.lane), "escrow": to_hex(order.escrow)}
    return {**head, "fee": str(order.fee), **_tree(case.bundle.opening)}


def _settlement(case: Case) -> dict[str, Any]:
    settled = case.settlement
    return {
        "outcome": "opening tree stands" if settled is None else "posted",
        "statement": None if settled is None else to_hex(settled.args["statement"]),
        "posted_root": _word(case.paid_root),
        "event": _place_of(settled),
        **_tree(case.final),
    }


def _tree(tree: SumTree) -> dict[str, Any]:
    leaves = (
        {"consent": to_hex(leaf.consent_id), "payee": to_hex(leaf.payee), "amount": str(leaf.amount)}
        for leaf in tree.leaves
    )
    return {"root": _word(tree.root), "total": str(tree.total), **_cut("leaves", leaves, len(tree.leaves))}


def _datasets(case: Case) -> dict[str, Any]:
    seen = dict.fromkeys((consent.asset, consent.owner) for consent in case.consents.values())
    rows = ({"asset": to_hex(asset), "owner": to_hex(owner)} for asset, owner in seen)
    return {"registry": to_hex(case.trust.registry), **_cut("datasets", rows, len(seen))}


def _consents(case: Case) -> dict[str, Any]:
    def row(consent_id: Any) -> dict[str, Any]:
        consent, life = case.consents[consent_id], case.lives[consent_id]
        return {
            "consent": to_hex(consent_id),
            "owner": to_hex(consent.owner),
            "asset": to_hex(consent.asset),
            "terms": to_hex(consent.terms),
            "purpose": to_hex(consent.purpose),
            "expiry": consent.expiry,
            "max_uses": consent.max_uses,
            "nonce": str(consent.nonce),
            "minted_in_block": life.minted,
            "ended_in_blocks": [block for block, _ in life.ends],
            "released_in_blocks": [block.number for block in case.receipts.blocks(consent_id)],
        }

    rows = (row(consent_id) for consent_id in case.consents)
    return {"consent_token": to_hex(case.trust.consent_token), **_cut("consents", rows, len(case.consents))}


def _terms(case: Case) -> dict[str, Any]:
    def row(leaf: Any) -> dict[str, Any]:
        licence = case.bundle.licence(leaf.consent_id)
        return {
            "consent": to_hex(leaf.consent_id),
            "terms": to_hex(licence.terms.hash),
            "flat": str(licence.terms.flat),
            "per_record_epoch": str(licence.terms.per_record_epoch),
            "records": licence.counts.records,
            "amount": str(leaf.amount),
        }

    return {"epochs": case.bundle.recipe.epochs, **_cut("leaves", map(row, case.leaves), len(case.leaves))}


def _releases(case: Case) -> dict[str, Any]:
    receipts, addresses = case.bundle.receipts, case.bundle.committee.addresses
    rows = (
        {
            "consent": to_hex(one.consent),
            "keeper": one.keeper,
            "address": to_hex(addresses[one.keeper - 1]) if one.keeper <= len(addresses) else None,
            "safe": to_hex(one.safe),
            "latest": to_hex(one.latest),
            "root": to_hex(one.root),
            "signature": to_hex(one.sig),
        }
        for one in receipts
    )
    return {"t": case.bundle.committee.t, **_cut("receipts", rows, len(receipts))}


def _blocks(case: Case) -> dict[str, Any]:
    released = [leaf.consent_id for leaf in case.leaves if case.receipts.keepers(leaf.consent_id)]
    objects = [str(one.payload) for consent in released[:SHOWN] for one in case.bundle.licence(consent).objects]
    return {"looked_at": case.blocks is not None, **_cut("objects", objects, len(objects))}


def _plan(case: Case) -> dict[str, Any]:
    plan = case.bundle.plan
    return {
        "plan": to_hex(plan.hash()),
        "runner": to_hex(case.bundle.order.runner),
        "signature": to_hex(case.bundle.plan_signature),
        "records": plan.records,
        "objects": len(plan.objects),
    }


def _ledger(case: Case) -> dict[str, Any]:
    tally, data = case.bundle.tally, case.bundle.ledger
    return {
        "root": to_hex(tally.root()),
        "entries": tally.entries,
        "attempts": tally.attempts,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _statement(case: Case) -> dict[str, Any]:
    envelope = case.bundle.statement[0]
    settled = case.settlement
    return {
        "sha256": statement_hash(case.bundle.provenance).hex(),
        "posted": None if settled is None else to_hex(settled.args["statement"]),
        "runner": to_hex(case.bundle.order.runner),
        "key_id": envelope.key_id,
        "signature": to_hex(envelope.signature),
        "event": _place_of(settled),
    }


def _stated_recipe(case: Case) -> dict[str, Any]:
    predicate = case.bundle.statement[1]["predicate"]
    build = predicate["buildDefinition"]
    return {
        "base": build["resolvedDependencies"][0],
        "recipe": build["externalParameters"]["recipe"],
        "run_details": predicate["runDetails"],
    }


def _payees(case: Case) -> dict[str, Any]:
    predicate = case.bundle.statement[1]["predicate"]
    stated = predicate["owners"]
    return {"fee": predicate["fee"], "fee_in_tree": str(fee_of(case.final)), **_cut("owners", stated, len(stated))}


def _adapter(case: Case) -> dict[str, Any]:
    stated = {item["name"]: item["digest"]["sha256"] for item in case.bundle.statement[1]["subject"][:SHOWN]}
    found = {
        f"{ADAPTER}/{name}": case.bundle.adapter_digest(name).hex()
        for name in islice(case.bundle.adapter_names(), SHOWN)
    }
    return {"stated_sha256": stated, "found_sha256": found}


def _model_signature(case: Case) -> dict[str, Any]:
    pem = case.bundle.read(PUBLIC_KEY_FILE, 4096)
    return {
        "key": pem.decode("ascii"),
        "stated_key": case.bundle.statement[1]["predicate"]["modelKey"],
        "signature_sha256": hashlib.sha256(case.bundle.read(SIGNATURE_FILE, 16 << 20)).hexdigest(),
    }


def _word(number: int) -> str:
    return to_hex(number.to_bytes(32, "big"))


_RAW: dict[str, Callable[[Case], dict[str, Any]]] = {
    "place": _place,
    "committee": _committee,
    "order": _order,
    "recipe": _recipe,
    "opening": _opening,
    "settlement": _settlement,
    "datasets": _datasets,
    "consents": _consents,
    "terms": _terms,
    "releases": _releases,
    "blocks": _blocks,
    "plan": _plan,
    "ledger": _ledger,
    "statement": _statement,
    "stated recipe": _stated_recipe,
    "payees": _payees,
    "adapter": _adapter,
    "model signature": _model_signature,
}


_CONTRACTS = ("registry", "consent_token", "escrow")
_REGISTERED = "Registered(address indexed,bytes32 indexed,bytes32,bytes32)"
_MODEL_SIGNING = (
    f'model_signing verify key "$BUNDLE"/{ADAPTER} --signature "$BUNDLE"/{SIGNATURE_FILE} '
    f'--public_key "$BUNDLE"/{PUBLIC_KEY_FILE}'
)


def _sum(*names: str) -> list[str]:
    return ["sha256sum " + " ".join(f'"$BUNDLE"/{name}' for name in names)]


def _receipt(raw: dict[str, Any]) -> list[str]:
    event = raw.get("event")
    return [] if event is None else [f'cast receipt {event["tx_hash"]} --rpc-url "$RPC"']


_HOW: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "place": lambda raw: [
        'cast chain-id --rpc-url "$RPC"',
        *(f'cast codesize {raw["accepted"][name]} --rpc-url "$RPC"' for name in _CONTRACTS),
    ],
    "committee": lambda raw: _sum("evidence/committee.json"),
    "order": _receipt,
    "recipe": lambda raw: _sum("evidence/recipe.json"),
    "opening": lambda raw: [
        f"cast call {raw['escrow']} 'lanes(address,uint96)(uint256)' {raw['payer']} {raw['lane']} --rpc-url \"$RPC\""
    ],
    "settlement": _receipt,
    "datasets": lambda raw: [
        f"cast logs --from-block 0 --address {raw['registry']} '{_REGISTERED}' {one['owner']} {one['asset']} "
        '--rpc-url "$RPC"'
        for one in raw["datasets"][:3]
    ],
    "consents": lambda raw: [
        f"cast logs --from-block {one['minted_in_block']} --to-block {one['minted_in_block']} "
        f'--address {raw["consent_token"]} --rpc-url "$RPC"  # mints {one["consent"]}'
        for one in raw["consents"][:3]
        if one["minted_in_block"] is not None
    ],
    "terms": lambda raw: [],
    "releases": lambda raw: [
        f'cast block {block} --rpc-url "$RPC"' for block in dict.fromkeys(one["latest"] for one in raw["receipts"][:3])
    ],
    "blocks": lambda raw: [f"ipfs dag stat {cid}" for cid in raw["objects"][:3]],
    "plan": lambda raw: _sum("evidence/plan.cbor"),
    "ledger": lambda raw: _sum("evidence/ledger"),
    "statement": lambda raw: [*_sum(STATEMENT), *_receipt(raw)],
    "stated recipe": lambda raw: [f'jq -r .payload "$BUNDLE"/{STATEMENT} | base64 -d | jq .predicate.buildDefinition'],
    "payees": lambda raw: [f'jq -r .payload "$BUNDLE"/{STATEMENT} | base64 -d | jq .predicate.owners'],
    "adapter": lambda raw: [f'sha256sum "$BUNDLE"/{ADAPTER}/*'],  # no name that a bundle chose: people paste these
    "model signature": lambda raw: [_MODEL_SIGNING],
}
