"""What the API answers in the tests of the page's screens: a small world with one owner, as documents.

Each document goes through the API's own models, so that an answer which the API could not give fails here.
"""

from __future__ import annotations

import json
import time
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from allod.server.about import WorldOut
from allod.server.consentforms import ConsentForm
from allod.server.consents import ConsentRowOut
from allod.server.datasets import DatasetDetailOut, TermsOut
from allod.server.earnings import EarningsOut
from allod.server.feed import ActivityOut
from allod.server.operations import OperationOut
from allod.server.requests import RequestOut
from allod.server.verification import VerificationOut
from consent.grant import Consent
from consent.purposes import PURPOSES, purpose
from consent.terms import Terms
from core.encoding import from_hex, to_hex
from core.ids import NOBODY, Address

DAY = 86400
NOW = int(time.time()) - 9 * DAY  # the browser asks its own clock what is over
LATER = NOW + 365 * DAY
SOON = NOW + 16 * DAY
UNIT = 10**9
Json = dict[str, Any]


def bytes32(name: str) -> str:
    """32 bytes that mean `name` here."""
    return to_hex(sha256(name.encode()).digest())


def account(name: str) -> str:
    """An account that means `name` here."""
    return bytes32(name)[:42]


def amount(tokens: float) -> str:
    """Tokens in UNITs."""
    return str(round(tokens * UNIT))


def _checked(model: type[BaseModel], document: Json) -> Json:
    return model.model_validate(document).model_dump(mode="json", by_alias=True)


def page(data: list[Json], after: str | None = None) -> Json:
    """A list's answer."""
    return {"data": data, "has_more": after is not None, "next_after": after}


HPKE = "0x" + "11" * 1216
KEEPERS = [
    {
        "index": n,
        "address": account(f"keeper {n}"),
        "endpoint": f"http://127.0.0.1:{9000 + n}",
        "hpke_key": "0x" + "11" * 1216,
    }
    for n in (1, 2, 3)
]
HERE = "this computer, the same person as the server"
WORLD = _checked(
    WorldOut,
    {
        "chain_id": 31337,
        "is_development": True,
        "notice": "This is a development world: play money, and keepers in one place, without independence.",
        "version": "0.1.0",
        "contracts": {name: account(name) for name in ("registry", "consent_token", "escrow", "currency")},
        "currency": {"symbol": "PLAY", "decimals": 18, "unit_decimals": 9},
        "committee": {
            "id": bytes32("committee"),
            "hash": bytes32("committee's addresses"),
            "document": "{}",
            "t": 2,
            "n": 3,
            "q": 3,
            "end": LATER,
            "keepers": KEEPERS,
        },
        "runner": {"address": account("runner")},
        "operators": {"server": "whoever runs this computer", "runner": HERE, "keepers": [HERE] * 3},
        "purposes": [
            {"code": one.code, "iri": one.iri, "hash": to_hex(one.hash), "label": one.label} for one in PURPOSES
        ],
        "limits": {"part_bytes": 16 << 20, "cids_per_question": 1000, "block_bytes": 2 << 20},
    },
)
PRICE = {"flat": amount(2), "per_record_epoch": amount(0.0004)}


def terms(owner: str, **changes: Any) -> Terms:
    """The owner's usual licence; the same again each time."""
    usual: Json = {
        "purposes": ("academic-research",),
        "base_models": None,
        "max_epochs": 3,
        "max_uses": 0,
        "flat": int(PRICE["flat"]),
        "per_record_epoch": int(PRICE["per_record_epoch"]),
        "payee": Address(from_hex(owner)),
        "expiry": LATER,
        "runner": NOBODY,
        "committee": from_hex(bytes32("committee's addresses")),
        "salt": bytes(32),
    }
    return Terms(**usual | changes)


def consent(owner: str, name: str, asset: str, grantee: str | None, uses: int = 0, under: Terms | None = None) -> Json:
    """A consent's struct."""
    return {
        "owner": owner,
        "grantee": grantee or "0x" + "00" * 20,
        "asset": asset,
        "terms": to_hex((under or terms(owner)).hash),
        "purpose": to_hex(PURPOSES[0].hash),
        "runner": "0x" + "00" * 20,
        "escrow": account("escrow"),
        "not_before": NOW,
        "expiry": LATER,
        "max_uses": uses,
        "nonce": str(sum(name.encode())),
    }


def signed(fields: Json) -> Consent:
    """The same consent as its owner signs it."""
    return ConsentForm(**fields).consent()


def dataset(owner: str, asset: str, title: str, *, offered: list[str], under: Terms | None = None) -> Json:
    """A dataset on offer for these purposes; for none of them it is on request."""
    under = under or terms(owner)
    document = TermsOut.of(under).model_dump(mode="json")
    offers = [
        {
            "digest": bytes32(f"offer of {title} for {code}"),
            "consent": consent(owner, "offer", asset, None, under=under) | {"purpose": to_hex(purpose(code).hash)},
            "signature": "0x" + "22" * 65,
            "purpose": code,
            "terms": document,
        }
        for code in offered
    ]
    return _checked(
        DatasetDetailOut,
        {
            "asset": asset,
            "owner": owner,
            "title": title,
            "objects": 1,
            "records": 24,
            "published": NOW,
            "purposes": list(under.purposes),
            "price": {"flat": str(under.flat), "per_record_epoch": str(under.per_record_epoch)},
            "expiry": LATER,
            "terms_hash": to_hex(under.hash),
            "card": {"title": title, "description": "", "schema": ["text/plain"], "sample": ""},
            "terms": document,
            "publication": "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
            "offers": offers,
        },
    )


def requests(owner: str, asset: str) -> list[Json]:
    """One that waits, one that was answered."""
    shared = {
        "asset": asset,
        "owner": owner,
        "title": "Ada's notebook",
        "purpose": "academic-research",
        "max_epochs": 3,
        "base_models": [],
        "max_uses": 2,
        "expiry": LATER,
        **PRICE,
        "opened": NOW,
        "closes": SOON,
    }
    message = "We study how people write down what they must not forget. The adapter will be public, the text will not."
    asked = {"state": "open", "at": NOW, "by": account("tom")}
    answered = {"state": "denied", "at": NOW + DAY, "by": owner, "reason": "Not for products."}
    return [
        _checked(RequestOut, shared | extra)
        for extra in (
            {
                "id": "1" * 32,
                "trainer": account("tom"),
                "state": "open",
                "message": message,
                "consent": None,
                "history": [asked],
            },
            {
                "id": "2" * 32,
                "trainer": account("una"),
                "state": "denied",
                "message": "",
                "consent": None,
                "purpose": "service-provision",
                "history": [asked, answered],
            },
        )
    ]


def consents(owner: str, asset: str) -> list[Json]:
    """One that is over, one that was used, an offer that two trainers took; in the order in which they were signed."""
    jobs = [{"job_id": bytes32("job 1"), "opened": NOW + 3 * DAY, "adapter": bytes32("adapter")}]

    def token(holder: str, status: str, uses: int, left: int | None) -> Json:
        name = bytes32(f"token of {holder}")
        return {"id": name, "holder": account(holder), "status": status, "uses": uses, "uses_left": left}

    rows: list[Json] = [
        {
            "consent": consent(owner, "over", asset, account("walt"), 1),
            "is_offer": False,
            "tokens": [token("walt", "burned", 0, 1)],
            "last_used": None,
            "jobs": [],
            "nonce_revoked": False,
        },
        {
            "consent": consent(owner, "named", asset, account("vera"), 5),
            "is_offer": False,
            "tokens": [token("vera", "live", 2, 3)],
            "last_used": NOW + 2 * DAY,
            "jobs": [{"job_id": bytes32("job 2"), "opened": NOW + 2 * DAY, "adapter": None}],
            "nonce_revoked": False,
        },
        {
            "consent": consent(owner, "offer", asset, None),
            "is_offer": True,
            "tokens": [token("tom", "live", 1, None), token("una", "live", 0, None)],
            "last_used": NOW + 3 * DAY,
            "jobs": jobs,
            "nonce_revoked": False,
        },
    ]
    shared = {"signature": "0x" + "22" * 65, "signed": NOW, "purpose": "academic-research", "price": PRICE}
    return [
        _checked(
            ConsentRowOut, shared | row | {"number": at, "digest": bytes32(f"consent {at}"), "title": "Ada's notebook"}
        )
        for at, row in enumerate(rows, start=1)
    ]


def earnings(asset: str) -> Json:
    """One job in each state."""
    states = [("in_escrow", 2.03, None), ("claimable", 4.0288, None), ("paid", 2.0288, bytes32("payment"))]
    data = [
        {
            "job_id": bytes32(f"job {at}"),
            "consent_id": bytes32(f"token {at}"),
            "asset": asset,
            "amount": amount(tokens),
            "state": state,
            "claims_begin": NOW + at * DAY,
            "claims_end": NOW + (180 + at) * DAY,
            "tx_hash": paid,
        }
        for at, (state, tokens, paid) in enumerate(states, start=1)
    ]
    totals = {state: amount(tokens) for state, tokens, _ in states}
    return _checked(EarningsOut, page(data) | {"totals": totals})


def activity() -> list[Json]:
    """A day of it, newest first."""
    entries: list[tuple[str, Json]] = [
        ("earning.paid", {"job_id": bytes32("job 3"), "amount": amount(2.0288)}),
        ("consent.taken", {"asset": bytes32("asset"), "consent": bytes32("token of tom")}),
        ("operation.final", {"kind": "register", "tx_hash": bytes32("registration"), "asset": bytes32("asset")}),
        ("request.open", {"request": "1" * 32, "asset": bytes32("asset")}),
        ("vault.committed", {"sequence": 2}),
        ("session.started", {}),
    ]
    return [
        _checked(ActivityOut, {"id": len(entries) - at, "at": NOW - at * 3600, "kind": kind, "data": data})
        for at, (kind, data) in enumerate(entries)
    ]


def verification(asked: str | None = None, *, broken: str = "", vouched: bool = True) -> Json:
    """A finished job, sentence by sentence, as an honest server answers whoever asks for it or for its adapter."""
    job = bytes32("job 1")
    texts = [
        ("place", "The job was opened on this chain, in this escrow, whose contracts have code."),
        ("committee", "Every keeper signed the committee's document, and it is one that you accept."),
        ("order", "The escrow opened exactly this order."),
        ("consents", "Every consent was live when its keys were released."),
        ("terms", "Every owner is paid what their terms say."),
        ("adapter", "The runner's key on chain vouches for exactly this adapter."),
    ]
    findings = {"terms": "68000000000 UNITs for the owners"}
    sentences = [
        {
            "slug": slug,
            "text": text,
            "holds": slug != broken,
            "finding": "The leaf of an owner was lowered." if slug == broken else findings.get(slug, "It is so."),
            "evidence": {"hash": bytes32(slug), "leaves": [{"records": 12, "amount": "68000000000"}]},
            "how_to_check": f"cast call --rpc-url $RPC {account('escrow')} 'lanes(address)'",
        }
        for slug, text in texts
        if vouched or slug != "adapter"
    ]
    contracts = {name: WORLD["contracts"][name] for name in ("consent_token", "escrow", "registry")}
    trust = {"chain_id": WORLD["chain_id"], "committees": [WORLD["committee"]["hash"]], **contracts}
    return _checked(
        VerificationOut,
        {
            "job_id": job,
            "adapter": asked if asked not in (None, job) else bytes32("adapter"),
            "verified": not broken,
            "vouched": vouched and not broken,
            "sentences": sentences,
            "block": 140,
            "at": NOW,
            "trust": json.dumps(trust, separators=(",", ":")),
        },
    )


def operation(kind: str, state: str, *, about: Json | None = None) -> Json:
    """One relayed act."""
    is_revocation = kind.startswith("revoke")
    keepers = [
        {"index": one["index"], "address": one["address"], "stored": state in ("included", "final"), "reason": None}
        for one in KEEPERS
    ]
    is_in_block = state in ("included", "final")
    return _checked(
        OperationOut,
        {
            "id": sha256(kind.encode()).hexdigest()[:32],
            "kind": kind,
            "state": state,
            "tx_hash": None if state == "accepted" else bytes32(kind),
            "block": 141 if is_in_block else None,
            "transactions": [] if state == "accepted" else [bytes32(kind)],
            "created": NOW,
            "changed": NOW,
            "about": about or {},
            "keepers": keepers if is_revocation else [],
            "problem": None,
        },
    )
