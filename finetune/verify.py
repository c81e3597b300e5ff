"""`verify`: what a finished job's bundle claims, checked against the chain by anyone, with their own settings.

It needs the bundle, an RPC endpoint, and what the verifier accepts (`Trust`): chain id, contracts, committees. It reads
event logs and block headers only, so no archive of old state, and no server of ours. Each sentence of the report holds
or does not, with its evidence; none is skipped because another failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consent.chain.client import Chain
from consent.committee import Committee
from consent.history import History
from consent.keeper.receipt import Receipt
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import FEE, Leaf, SumTree
from core.encoding import decode_cbor, decode_json, encode_json, from_hex, to_hex
from core.errors import AllodError, InvalidInput, NotFound
from core.ids import Address, ConsentId
from finetune.ledger import Tally, read_ledger
from finetune.licence import Licence
from finetune.plan import Plan, decode_plan
from finetune.provenance import EVIDENCE, STATEMENT, read_statement
from finetune.sentences import ALWAYS, VOUCHED, Case
from vault.blocks import BlockStore

TRUST_LIMIT = 64 << 10


@dataclass(frozen=True)
class Trust:
    """What a verifier accepts, from settings of their own: never from the bundle or from a keeper's answer."""

    chain_id: int
    registry: Address
    consent_token: Address
    escrow: Address
    committees: tuple[bytes, ...]
    """keccak(q, keeper addresses) of every committee that is accepted."""

    def encode(self) -> bytes:
        """As canonical JSON."""
        return encode_json(
            {
                "chain_id": self.chain_id,
                "registry": to_hex(self.registry),
                "consent_token": to_hex(self.consent_token),
                "escrow": to_hex(self.escrow),
                "committees": [to_hex(committee) for committee in self.committees],
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Trust:
        """Parse a trust file; `InvalidInput` says what is missing."""
        document = decode_json(data.strip(), limit=TRUST_LIMIT)
        try:
            return cls(
                chain_id=int(document["chain_id"]),
                registry=Address(from_hex(document["registry"], 20)),
                consent_token=Address(from_hex(document["consent_token"], 20)),
                escrow=Address(from_hex(document["escrow"], 20)),
                committees=tuple(from_hex(item, 32) for item in document["committees"]),
            )
        except (KeyError, TypeError, ValueError):
            raise InvalidInput(
                "The trust file lacks chain_id, registry, consent_token, escrow or committees.",
                hint="docs/format/72-provenance.md shows one.",
            ) from None


@dataclass(frozen=True)
class Finding:
    """One sentence of the report: whether it holds, and the evidence or the reason why not."""

    slug: str
    sentence: str
    holds: bool
    evidence: str


@dataclass
class Report:
    """All sentences about one bundle."""

    findings: list[Finding] = field(default_factory=list)
    job: str = ""
    vouched: bool = False

    @property
    def holds(self) -> bool:
        """Whether every sentence holds."""
        return bool(self.findings) and all(finding.holds for finding in self.findings)

    @property
    def broken(self) -> list[str]:
        """The slugs of the sentences that do not hold."""
        return [finding.slug for finding in self.findings if not finding.holds]


class Evidence:
    """The documents of a bundle, each decoded when a sentence first needs it."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self._known: dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[bytes], Any]) -> Any:
        if name not in self._known:
            try:
                data = (self.bundle / EVIDENCE / name).read_bytes()
            except OSError:
                raise NotFound(f"The bundle lacks {EVIDENCE}/{name}.") from None
            self._known[name] = read(data)
        return self._known[name]

    @property
    def order(self) -> Order:
        """The job as it was ordered."""
        return self._once("order.cbor", Order.decode)  # type: ignore[no-any-return]

    @property
    def recipe(self) -> Recipe:
        """What was trained and how."""
        return self._once("recipe.json", Recipe.decode)  # type: ignore[no-any-return]

    @property
    def committee(self) -> Committee:
        """The keepers' document."""
        return self._once("committee.json", Committee.decode)  # type: ignore[no-any-return]

    @property
    def opening(self) -> SumTree:
        """The tree that the job was opened with."""
        return self._once("tree.cbor", SumTree.decode)  # type: ignore[no-any-return]

    @property
    def final(self) -> SumTree:
        """The tree that is paid: the opening tree where no leaf fell."""
        has = (self.bundle / EVIDENCE / "final.cbor").exists()
        return self._once("final.cbor", SumTree.decode) if has else self.opening

    @property
    def plan(self) -> Plan:
        """The order of the records."""
        return self._once("plan.cbor", decode_plan)  # type: ignore[no-any-return]

    @property
    def tally(self) -> Tally:
        """The replayed ledger."""
        return self._once("ledger", lambda data: read_ledger(data, self.order.job_id))  # type: ignore[no-any-return]

    @property
    def receipts(self) -> list[Receipt]:
        """The keepers' receipts."""
        return self._once("receipts.cbor", _read_receipts)  # type: ignore[no-any-return]

    def licence(self, consent: ConsentId) -> Licence:
        """What one consent licensed."""
        return self._once(f"licences/{consent.hex()}.cbor", Licence.decode)  # type: ignore[no-any-return]

    @property
    def plan_signature(self) -> bytes:
        """The runner's signature over the plan."""
        return self._once("plan.sig", bytes)  # type: ignore[no-any-return]

    @property
    def provenance(self) -> bytes | None:
        """provenance.json as it lies there, or None where nobody vouched."""
        path = self.bundle / STATEMENT
        return path.read_bytes() if path.exists() else None

    @property
    def statement(self) -> tuple[Any, dict[str, Any]]:
        """The envelope and the statement in it."""
        if "statement" not in self._known:
            self._known["statement"] = read_statement(self.provenance or b"")
        return self._known["statement"]  # type: ignore[no-any-return]

    @property
    def paid(self) -> list[Leaf]:
        """The owners' leaves that are paid something."""
        return [leaf for leaf in self.final.leaves if leaf.consent_id != FEE and leaf.amount > 0]


def _read_receipts(data: bytes) -> list[Receipt]:
    value = decode_cbor(data, limit=256 << 20)
    rows = value.get("receipts") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise InvalidInput("The receipts are not a list.")
    return [Receipt.read(row) for row in rows]


def verify(bundle: Path, chain: Chain, trust: Trust, blocks: BlockStore | None = None) -> Report:
    """Check every sentence about the job of `bundle`. A bundle that lies raises nothing: the report says where.

    Without a statement the consents, releases and payments are verified, and the report says that nobody vouches for
    the adapter.
    """
    evidence = Evidence(bundle)
    history = History(chain, trust.registry, trust.consent_token, trust.escrow)
    case = Case(evidence, chain, history, trust, blocks)
    report = Report(vouched=evidence.provenance is not None)
    for slug, sentence, check in (*ALWAYS, *(VOUCHED if report.vouched else ())):
        try:
            report.findings.append(Finding(slug, sentence, True, check(case)))
        except AllodError as error:
            report.findings.append(Finding(slug, sentence, False, error.message))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            reason = f"A document of the bundle is malformed ({type(error).__name__})."
            report.findings.append(Finding(slug, sentence, False, reason))
    with contextlib.suppress(AllodError):
        report.job = to_hex(evidence.order.job_id)
    return report
