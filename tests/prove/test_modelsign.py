"""An adapter's signature is one that the OpenSSF tool accepts, and it breaks with any byte of the adapter."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import Corrupted
from finetune.envelope import Envelope, pre_authentication
from finetune.modelsign import PUBLIC_KEY_FILE, SIGNATURE_FILE, public_pem, sign_model, verify_model
from finetune.provenance import ADAPTER
from tests.prove.proofs import Proof


def accepted(folder: Path, beside: Path) -> bool:
    words = ["verify", "key", str(folder), "--public_key", str(beside / "p.pem"), "--signature", str(beside / "m.sig")]
    command = [sys.executable, "-W", "ignore", "-m", "model_signing", *words]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_openssf_tool_accepts_our_signature_and_refuses_a_changed_adapter(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    files = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(range(256))}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    key = ec.generate_private_key(ec.SECP256R1())
    digests = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    (tmp_path / "m.sig").write_bytes(sign_model("adapter", digests, key))
    (tmp_path / "p.pem").write_bytes(public_pem(key.public_key()))
    assert accepted(folder, tmp_path)
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(255)) + b"\0")
    assert not accepted(folder, tmp_path)


def test_an_envelope_has_one_form_and_one_signature() -> None:
    envelope = Envelope("t", b"payload", "0xkey", b"s" * 65)
    data = envelope.encode()
    assert Envelope.decode(data) == envelope
    assert envelope.signed == pre_authentication("t", b"payload") == b"DSSEv1 1 t 7 payload"
    two = data.replace(b'"signatures":[', b'"signatures":[{"keyid":"","sig":""},')
    for wrong in (b"", data[:-1], data + b" ", two, data.replace(b'"payload":"', b'"payload":"!')):
        with pytest.raises(Corrupted):
            Envelope.decode(wrong)


@pytest.mark.needs_trainer
def test_the_openssf_tool_accepts_the_adapter_of_a_bundle(whole: Proof) -> None:
    def accepts(bundle: Path) -> bool:
        words = ["verify", "key", str(bundle / ADAPTER), "--public_key", str(bundle / PUBLIC_KEY_FILE)]
        command = [sys.executable, "-W", "ignore", "-m", "model_signing", *words]
        command += ["--signature", str(bundle / SIGNATURE_FILE)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert accepts(whole.bundle)


def test_a_signature_is_read_back_under_its_own_key_and_folder_only() -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    digests = {"b": hashlib.sha256(b"b").digest(), "a": hashlib.sha256(b"a").digest()}
    data, pem = sign_model("adapter", digests, key), public_pem(key.public_key())
    assert verify_model(data, "adapter", pem) == digests
    wide = ec.generate_private_key(ec.SECP384R1())
    for wrong in (
        (data, "model", pem),
        (data, "adapter", public_pem(other.public_key())),
        (data, "adapter", b"no key"),
        (data + b" ", "adapter", pem),
        (data[:-1], "adapter", pem),
        (sign_model("adapter", digests, wide), "adapter", public_pem(wide.public_key())),
    ):
        with pytest.raises(Corrupted):
            verify_model(*wrong)
