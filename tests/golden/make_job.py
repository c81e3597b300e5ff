"""Makes tests/golden/job anew: a small job with a real adapter, which an owner left half-way, and its chain.

    .venv/bin/python tests/golden/make_job.py

Only for a change of the bytes themselves, which then needs a new version: what is committed must verify for ever.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from consent.chain.client import Chain
from consent.chain.jsonrpc import EmbeddedProvider
from consent.market.place import Market
from consent.market.revoking import relay_revocation, sign_revoke_nonces
from core.encoding import to_hex
from finetune.broker import Progress
from finetune.verify import verify
from tests.job.by_hand import write_tiny_base
from tests.job.worlds import World
from tests.prove.proofs import AT_ONCE, embedded_of, finish, found, trust_of
from tests.prove.recorded import Recorder

PLACE = Path(__file__).parent / "job"


def main() -> None:
    """Run the job, verify it once while the reads of state are recorded, and put bundle, trust and chain in place."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        write_tiny_base(folder / "base")
        world = found(folder / "home", folder / "base")
        shutil.rmtree(PLACE, ignore_errors=True)
        finish(world, ["ada", "bruno", "dario"], PLACE / "bundle", site=world.site(pace=AT_ONCE, report=_leave(world)))
        _revoke_afterwards(world)
        recorder = Recorder(EmbeddedProvider(embedded_of(world.chain), owned=False))
        trust = trust_of(world)
        report = verify(PLACE / "bundle", Chain(recorder), trust)
        if not report.vouched:
            raise SystemExit(f"The job does not verify: {report.broken}")
        (PLACE / "trust.json").write_bytes(trust.encode() + b"\n")
        contracts = (trust.registry, trust.consent_token, trust.escrow)
        recorder.save(PLACE / "chain.json", [to_hex(address) for address in contracts])
        world.close()
    print(f"job {report.job}, {sum(path.stat().st_size for path in PLACE.rglob('*') if path.is_file())} bytes")


def _leave(world: World):  # type: ignore[no-untyped-def]
    """Bruno revokes after the third step."""

    def report(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 3:
            world.revoke("bruno")

    return report


def _revoke_afterwards(world: World) -> None:
    """Ada ends her consent by its nonce once the job is over: no log tells, and nothing breaks."""
    ada, market = world.owners["ada"], Market(world.chain, world.deployment)
    for signed in sign_revoke_nonces(market, ada.account, [ada.signed.consent]):
        relay_revocation(market, world.relayer, signed)


if __name__ == "__main__":
    main()
