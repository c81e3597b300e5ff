"""Bundles made to harm whoever verifies them: verification always ends in a report that does not hold."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.encoding import encode_cbor, encode_json
from finetune.bundle import LIMITS
from finetune.envelope import IN_TOTO, Envelope
from finetune.modelsign import SIGNATURE_FILE
from finetune.provenance import ADAPTER, EVIDENCE, STATEMENT, read_statement, sign_statement
from finetune.verify import EVIDENCE_LIMIT, Report
from tests.prove.proofs import FORGER, Proof, edit_statement

pytestmark = pytest.mark.needs_trainer
UNREAD = {"evidence/transactions.json", "evidence/losses.json", "evidence/refusals.json"}  # for people only


def files_of(proof: Proof) -> list[str]:
    """Every file that verification reads; of the licences one."""
    names = sorted(path.relative_to(proof.bundle).as_posix() for path in proof.bundle.rglob("*") if path.is_file())
    licences = [name for name in names if "/licences/" in name]
    return [name for name in names if name not in UNREAD and name not in licences[1:]]


def refused(report: Report) -> bool:
    """A whole report that does not hold and can be shown on a terminal."""
    for finding in report.findings:
        assert finding.evidence.isprintable()
        assert len(finding.evidence) <= EVIDENCE_LIMIT
    return len(report.findings) >= 11 and not report.holds and not report.vouched


def as_huge(path: Path, _: Path) -> None:
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**42)  # sparse: four tebibytes to whoever reads it


def as_link(path: Path, outside: Path) -> None:
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def as_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def as_folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


def as_cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def as_longer(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def as_nested(path: Path, _: Path) -> None:
    path.write_bytes(b"[" * 100_000 if path.suffix != ".cbor" else b"\x81" * 100_000)


def as_digits(path: Path, _: Path) -> None:
    path.write_bytes(b'{"v":' + b"9" * 100_000 + b"}" if path.suffix != ".cbor" else b"\xc2\x5a\x00\x01\x00\x00" * 9)


def as_promise(path: Path, _: Path) -> None:
    path.write_bytes(b"\x9b" + b"\xff" * 8)  # an array of 2^64 - 1 entries; nothing of it follows


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "absent": lambda path, _: path.unlink(),
    "empty": lambda path, _: path.write_bytes(b""),
    "cut": as_cut,
    "longer": as_longer,
    "noise": lambda path, _: path.write_bytes(b"\xff\x00" * 500),
    "nested": as_nested,
    "digits": as_digits,
    "promise": as_promise,
    "huge": as_huge,
    "link": as_link,
    "pipe": as_pipe,
    "folder": as_folder,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_not_what_it_should_be_never_verifies_and_never_raises(
    whole: Proof, tmp_path: Path, way: str
) -> None:
    for index, name in enumerate(files_of(whole)):
        if name == "evidence/final.cbor" and way == "absent":
            continue  # nothing fell: the opening tree says the same
        if way == "huge" and name.startswith(ADAPTER):
            continue  # hashed in bounded memory and long time: test_fresh_process
        bundle = whole.copy(tmp_path / str(index))
        WAYS[way](bundle / name, tmp_path / "outside")
        assert refused(whole.verify(bundle)), name
        shutil.rmtree(bundle)


def test_one_changed_bit_anywhere_breaks_a_sentence(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    chance = random.Random(20261124)
    for name in files_of(whole):
        path = bundle / name
        data = path.read_bytes()
        for _ in range(6):
            place = chance.randrange(len(data) * 8)
            wrong = bytearray(data)
            wrong[place // 8] ^= 1 << place % 8
            path.write_bytes(wrong)
            assert refused(whole.verify(bundle)), (name, place)
        path.write_bytes(data)
    assert whole.verify(bundle).holds


@pytest.mark.parametrize("name", [ADAPTER, EVIDENCE, f"{EVIDENCE}/licences"])
def test_a_folder_that_is_a_link_is_not_followed(whole: Proof, tmp_path: Path, name: str) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    assert refused(whole.verify(bundle))


def test_a_link_or_a_folder_among_the_adapter_is_refused(whole: Proof, tmp_path: Path) -> None:
    ways: list[Callable[[Path], object]] = [lambda path: path.symlink_to("/etc/passwd"), Path.mkdir, os.mkfifo]
    for index, put in enumerate(ways):
        bundle = whole.copy(tmp_path / str(index))
        put(bundle / ADAPTER / "more")
        assert whole.verify(bundle).broken == ["adapter"]


def test_no_folder_and_an_empty_folder_are_no_bundle(whole: Proof, tmp_path: Path) -> None:
    assert refused(whole.verify(tmp_path / "nothing"))
    assert refused(whole.verify(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    assert refused(whole.verify(tmp_path / "file"))


def test_names_that_climb_out_of_the_bundle_are_never_opened(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    for name in ("adapter/../../secret", str(secret), "../secret", "adapter/", "adapter/a/b"):
        subject = [{"name": name, "digest": {"sha256": digest}}]
        edit_statement(bundle, lambda document, named=subject: document.update(subject=named), FORGER)  # type: ignore[misc]
        assert {"adapter", "statement"} <= set(whole.verify(bundle).broken)


def test_words_for_the_terminal_do_not_reach_it(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    (bundle / ADAPTER / "\x1b[2Jgone\r\n").write_bytes(b"")
    edit_statement(bundle, lambda d: d["predicate"]["owners"][0].update(amount="\x1b[31m" * 10_000), FORGER)
    assert refused(whole.verify(bundle))


def test_a_very_long_list_of_names_is_read_no_further_than_the_first_stranger(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    for index in range(2_000):
        (bundle / ADAPTER / f"{index}").touch()
    assert whole.verify(bundle).broken == ["adapter"]


def statements(whole: Proof) -> list[bytes]:
    _, true = read_statement((whole.bundle / STATEMENT).read_bytes())

    def signed(document: object) -> bytes:
        return sign_statement(document, FORGER)  # type: ignore[arg-type]

    def wrapped(payload: bytes) -> bytes:
        return Envelope(IN_TOTO, payload, "0x", b"s" * 65).encode()

    return [
        signed({}),
        signed({**true, "subject": 7}),
        signed({**true, "subject": [7]}),
        signed({**true, "subject": [{"name": 7, "digest": None}]}),
        signed({**true, "subject": [{"name": "adapter/x", "digest": {"sha256": "zz"}}]}),
        signed({**true, "predicate": []}),
        signed({**true, "predicate": {**true["predicate"], "owners": {"a": 1}}}),
        signed({**true, "predicate": {**true["predicate"], "owners": [[]]}}),
        signed({**true, "predicate": {**true["predicate"], "owners": [{"consent": {}}]}}),
        signed({**true, "predicate": {**true["predicate"], "owners": [{"consent": None}] * 10_000}}),
        signed({**true, "predicate": {**true["predicate"], "modelKey": 7, "fee": [], "runDetails": 7}}),
        signed({**true, "predicate": {**true["predicate"], "modelKey": "\ud7ff\U0010ffff"}}),
        wrapped(b""),
        wrapped(b"null"),
        wrapped(b"[" * 100_000),
        wrapped(b'{"a":NaN}'),
        wrapped(b'{"a":"\\ud800"}'),
        wrapped(b'{"a":1e999}'),
        wrapped(b'{"a":' + b"7" * 5_000 + b"}"),
        b'{"payload":[],"payloadType":{},"signatures":[{"keyid":1,"sig":2}]}',
        b'{"payload":"","payloadType":"","signatures":[]}',
    ]


def test_statements_of_every_wrong_shape_are_refused(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    for data in statements(whole):
        (bundle / STATEMENT).write_bytes(data)
        report = whole.verify(bundle)
        assert refused(report), data[:100]
        assert "statement" in report.broken


def test_model_signatures_of_every_wrong_shape_are_refused(whole: Proof, tmp_path: Path) -> None:
    bundle = whole.copy(tmp_path / "bundle")
    true = json.loads((bundle / SIGNATURE_FILE).read_bytes())
    envelope = true["dsseEnvelope"]
    wrongs: list[Any] = [
        [],
        {},
        {"dsseEnvelope": []},
        {"dsseEnvelope": {**envelope, "signatures": []}},
        {"dsseEnvelope": {**envelope, "signatures": envelope["signatures"] * 2}},
        {"dsseEnvelope": {**envelope, "signatures": [{"sig": 7}]}},
        {"dsseEnvelope": {**envelope, "payload": "!"}},
        {"dsseEnvelope": {**envelope, "payload": base64.b64encode(b"{}").decode()}},
        {"dsseEnvelope": {**envelope, "payloadType": "text/plain"}},
        {"dsseEnvelope": {**envelope, "payloadType": None}},
    ]
    for wrong in wrongs:
        (bundle / SIGNATURE_FILE).write_bytes(json.dumps(wrong).encode())
        assert whole.verify(bundle).broken == ["model signature"]
    (bundle / SIGNATURE_FILE).write_bytes(b"[" * 100_000)
    assert whole.verify(bundle).broken == ["model signature"]


def test_giant_numbers_and_lists_are_refused(whole: Proof, tmp_path: Path) -> None:
    top = 2**64 - 1
    leaf = [bytes(32), bytes(20), top]
    documents = {
        "tree.cbor": [
            encode_cbor({"v": 1, "kind": "tree", "leaves": [leaf, [b"\1" * 32, bytes(20), top]]}),
            encode_cbor({"v": 1, "kind": "tree", "leaves": [leaf, leaf]}),
            encode_cbor({"v": 1, "kind": "tree", "leaves": []}),
            encode_cbor({"v": 1, "kind": "tree", "leaves": [[bytes(32), bytes(20), -1]]}),
            b"\xa0" * (LIMITS["tree.cbor"] + 1),
        ],
        "receipts.cbor": [
            encode_cbor([]),
            encode_cbor({"v": 1, "receipts": {}}),
            encode_cbor({"v": 2, "receipts": []}),
            encode_cbor({"v": True, "receipts": []}),
            encode_cbor({"v": 1, "receipts": [{}] * 1000}),
        ],
        "plan.cbor": [encode_cbor({}), encode_cbor({"v": 1, "kind": "plan", "objects": top})],
        "ledger": [b"\xff" * 4, b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\xa0", b"\x01\x00\x00\x00" + bytes(16 << 20)],
        "recipe.json": [encode_json({"epochs": 2**53 - 1}), b"[]", b"7"],
        "committee.json": [encode_json({"keepers": []}), b"null"],
        "order.cbor": [encode_cbor({"opened": top}), encode_cbor([top] * 16)],
    }
    for name, wrong in documents.items():
        bundle = whole.copy(tmp_path / name)
        for data in wrong:
            (bundle / EVIDENCE / name).write_bytes(data)
            assert refused(whole.verify(bundle)), (name, data[:50])
