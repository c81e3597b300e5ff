"""What a report gives for programs and for people's own tools: raw evidence, commands, and a bundle as one file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from core.encoding import encode_json, to_hex
from core.errors import Corrupted
from finetune.archive import Archive
from finetune.bundle import Bundle
from finetune.evidence import WHOLE
from finetune.provenance import ADAPTER, EVIDENCE, STATEMENT
from finetune.sentences import ALWAYS
from finetune.verify import Report, verify
from finetune.vouching import VOUCHED
from tests.prove.proofs import Proof


def report_of(proof: Proof, bundle: Path | None = None) -> Report:
    return verify(bundle or proof.bundle, proof.world.chain, proof.trust, proof.world.blocks)


def test_every_sentence_carries_its_evidence_and_how_to_check_it(whole: Proof) -> None:
    report = report_of(whole)
    assert [one.slug for one in report.findings] == [slug for slug, _, _ in (*ALWAYS, *VOUCHED)]
    for one in report.findings:
        assert one.raw, one.slug
        assert json.loads(encode_json(one.raw)) == one.raw
        assert one.how_to_check.endswith(WHOLE)
        assert one.how_to_check != WHOLE or one.slug == "terms", one.slug


def test_the_evidence_is_what_chain_and_files_say(whole: Proof) -> None:
    raw = {one.slug: one.raw for one in report_of(whole).findings}
    order = whole.order
    assert raw["order"]["job_id"] == to_hex(order.job_id)
    receipt = whole.world.chain.receipt(bytes.fromhex(raw["order"]["event"]["tx_hash"][2:]))
    assert receipt is not None
    assert receipt.block_number == raw["order"]["event"]["block"]
    digest = hashlib.sha256((whole.bundle / STATEMENT).read_bytes()).hexdigest()
    assert (raw["statement"]["sha256"], raw["statement"]["posted"]) == (digest, "0x" + digest)
    recipe = hashlib.sha256((whole.bundle / EVIDENCE / "recipe.json").read_bytes()).hexdigest()
    assert raw["recipe"]["recipe_hash"] == raw["recipe"]["committed_to"] == "0x" + recipe
    assert raw["adapter"]["stated_sha256"] == raw["adapter"]["found_sha256"]
    for name, found in raw["adapter"]["found_sha256"].items():
        assert hashlib.sha256((whole.bundle / name).read_bytes()).hexdigest() == found
    assert raw["settlement"]["leaves_count"] == len(raw["settlement"]["leaves"]) == 4
    assert all(one["minted_in_block"] is not None for one in raw["consents"]["consents"])


def test_a_sentence_that_breaks_still_shows_what_is_there(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    weights = bundle / ADAPTER / "adapter_model.safetensors"
    weights.write_bytes(b"other weights")
    found = {one.slug: one for one in report_of(whole, bundle).findings}["adapter"]
    assert not found.holds
    name = f"{ADAPTER}/{weights.name}"
    assert found.raw["found_sha256"][name] == hashlib.sha256(b"other weights").hexdigest()
    assert found.raw["stated_sha256"][name] != found.raw["found_sha256"][name]


def test_no_word_of_a_bundle_gets_into_a_command(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / ADAPTER / "$(touch owned)").write_bytes(b"")
    (bundle / EVIDENCE / "order.cbor").write_bytes(b"")
    for one in report_of(whole, bundle).findings:
        assert "owned" not in one.how_to_check
        assert one.how_to_check.endswith(WHOLE)


def test_the_commands_that_need_no_node_say_what_the_report_says(whole: Proof) -> None:
    found = {one.slug: one for one in report_of(whole).findings}
    environment = {"BUNDLE": str(whole.bundle), "PATH": os.environ["PATH"]}
    for slug, expected in (
        ("recipe", found["recipe"].raw["recipe_hash"][2:]),
        ("statement", found["statement"].raw["sha256"]),
        ("ledger", found["ledger"].raw["sha256"]),
        *(("adapter", digest) for digest in found["adapter"].raw["found_sha256"].values()),
    ):
        command = found[slug].how_to_check.splitlines()[0]
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
        assert expected in done.stdout, slug


# -- one file ---------------------------------------------------------------------------------------------------------


def packed(bundle: Path) -> bytes:
    archive = Archive(Bundle(bundle), "job")
    data = b"".join(archive.chunks())
    assert len(data) == archive.size
    return data


def test_a_packed_bundle_is_the_same_bytes_and_verifies_when_it_is_unpacked(whole: Proof, tmp_path: Path) -> None:
    data = packed(whole.bundle)
    copy = whole.copy(tmp_path / "copy")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    assert packed(copy) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [member.name for member in tar] == sorted(member.name for member in tar)
        tar.extractall(tmp_path / "out", filter="data")
    report = report_of(whole, tmp_path / "out" / "job")
    assert report.holds
    assert report.vouched


def test_nothing_but_the_pages_names_is_packed(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (tmp_path / "secret").write_bytes(b"SECRET")
    (bundle / "notes.txt").write_bytes(b"SECRET")
    (bundle / EVIDENCE / "shares.cbor").write_bytes(b"SECRET")
    (bundle / EVIDENCE / "licences" / "x.cbor").write_bytes(b"SECRET")
    assert packed(bundle) == packed(whole.bundle)
    for name in (STATEMENT, f"{EVIDENCE}/losses.json", f"{ADAPTER}/link"):
        other = whole.copy(tmp_path / name.replace("/", "-"))
        (other / name).unlink(missing_ok=True)
        (other / name).symlink_to(tmp_path / "secret")
        with pytest.raises(Corrupted):
            packed(other)


def test_verifying_and_packing_load_no_model() -> None:
    code = "import sys, finetune.verify, finetune.archive, allod.verifying; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
