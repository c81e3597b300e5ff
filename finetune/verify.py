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
from consent.fields import UINT64_MAX, exact_list, exact_map, integer
from consent.history import History
from core.encoding import decode_json, encode_json, from_hex, to_hex
from core.errors import AllodError, InvalidInput
from core.ids import Address
from finetune.bundle import Bundle
from finetune.evidence import how_to_check, raw_of
from finetune.provenance import STATEMENT
from finetune.sentences import ALWAYS, Case, Check
from finetune.vouching import VOUCHED, is_posted
from vault.blocks import BlockStore

TRUST_LIMIT = 64 << 10  # bytes
EVIDENCE_LIMIT = 1000  # characters of one finding
_MEMBERS = ("chain_id", "registry", "consent_token", "escrow", "committees")


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
        """Parse a trust file in canonical JSON (a final line break is allowed); `InvalidInput` says what is wrong."""
        try:
            fields = exact_map(decode_json(data.rstrip(), limit=TRUST_LIMIT), _MEMBERS, "The trust file")
            committees = exact_list(fields["committees"], "The accepted committees", at_least=1, at_most=500)
            return cls(
                chain_id=integer(fields["chain_id"], "The chain id", at_least=1, at_most=UINT64_MAX),
                registry=Address(from_hex(fields["registry"], 20)),
                consent_token=Address(from_hex(fields["consent_token"], 20)),
                escrow=Address(from_hex(fields["escrow"], 20)),
                committees=tuple(from_hex(item, 32) for item in committees),
            )
        except InvalidInput as error:
            raise InvalidInput(error.message, hint="docs/format/72-provenance.md shows a trust file.") from None


@dataclass(frozen=True)
class Finding:
    """One sentence of the report: whether it holds, and the evidence or the reason why not.

    `raw` is what it rests on, for programs, and `how_to_check` the commands that show it without this one.
    """

    slug: str
    sentence: str
    holds: bool
    evidence: str
    raw: dict[str, Any] = field(default_factory=dict)
    how_to_check: str = ""


@dataclass
class Report:
    """All sentences about one bundle. `vouched` says that all hold and that the runner's statement is among them."""

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


def verify(bundle: Path, chain: Chain, trust: Trust, blocks: BlockStore | None = None) -> Report:
    """Check every sentence about the job of `bundle`. A bundle that lies raises nothing: the report says where.

    Where no statement was posted and none is shown, consents, releases and payments are verified, and `vouched` says
    that nobody vouches for the adapter.
    """
    history = History(chain, trust.registry, trust.consent_token, trust.escrow)
    case = Case(Bundle(bundle), chain, history, trust, blocks)
    report = Report([_find(case, *sentence) for sentence in ALWAYS])
    if case.bundle.has(STATEMENT) or _holds(lambda: is_posted(case)):
        report.findings += [_find(case, *sentence) for sentence in VOUCHED]
        report.vouched = report.holds
    with contextlib.suppress(Exception):
        report.job = to_hex(case.bundle.order.job_id)
    return report


def _find(case: Case, slug: str, sentence: str, check: Check) -> Finding:
    holds = False
    try:
        said, holds = _shown(check(case)), True
    except AllodError as error:
        said = _shown(error.message)
    except Exception as error:  # whatever a hostile document makes the checks meet, the sentence does not hold
        said = f"A document of the bundle is malformed ({type(error).__name__})."
    raw = raw_of(slug, case)
    return Finding(slug, sentence, holds, said, raw, how_to_check(slug, raw))


def _holds(ask: Callable[[], bool]) -> bool:
    with contextlib.suppress(Exception):
        return ask()
    return False


def _shown(text: str) -> str:
    """One printable line of a bounded length: words of a bundle reach a terminal through here."""
    some = text[: EVIDENCE_LIMIT + 1]
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in some)
    return line if len(line) <= EVIDENCE_LIMIT else line[: EVIDENCE_LIMIT - 1] + "…"
