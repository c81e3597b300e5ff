"""The job that was recorded once verifies for ever: offline, with nothing but files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from consent.chain.client import Chain
from finetune.provenance import ADAPTER, EVIDENCE, STATEMENT, read_statement
from finetune.verify import Report, Trust, verify
from tests.prove.recorded import Recorded

GOLDEN = Path(__file__).parents[1] / "golden" / "job"
TRUST = Trust.decode((GOLDEN / "trust.json").read_bytes())


def verified(bundle: Path) -> Report:
    return verify(bundle, Chain(Recorded(GOLDEN / "chain.json"), chain_id=TRUST.chain_id), TRUST)


def test_the_recorded_job_verifies() -> None:
    report = verified(GOLDEN / "bundle")
    assert report.broken == []
    assert report.vouched


def test_it_is_the_job_that_an_owner_left_and_another_never_joined() -> None:
    _, statement = read_statement((GOLDEN / "bundle" / STATEMENT).read_bytes())
    rows = statement["predicate"]["owners"]
    epochs = sorted(row["recordEpochs"] for row in rows)
    assert len(rows) == 2
    assert 0 < epochs[0] < 16
    assert epochs[1] == 24
    evidence = {one.slug: one.evidence for one in verified(GOLDEN / "bundle").findings}
    paid, locked, *_ = re.findall(r"\d+", evidence["settlement"])
    assert 0 < int(paid) < int(locked)
    assert evidence["releases"] == "2 datasets were released; for 1 too few receipts are shown"


def test_it_stays_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 400_000


@pytest.mark.parametrize("name", [
    STATEMENT, f"{ADAPTER}/adapter_model.safetensors", f"{EVIDENCE}/ledger", f"{EVIDENCE}/final.cbor",
    f"{EVIDENCE}/receipts.cbor",
])  # fmt: skip
def test_a_changed_byte_of_it_is_seen(tmp_path: Path, name: str) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(GOLDEN / "bundle", bundle)
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    assert not verified(bundle).holds
