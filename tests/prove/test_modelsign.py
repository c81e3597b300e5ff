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
from finetune.modelsign import public_pem, sign_model


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
