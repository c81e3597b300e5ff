"""The OpenSSF model signature (OMS 1.0) of an adapter, as any `model_signing verify key` accepts it.

A sigstore bundle around a DSSE envelope around an in-toto Statement that lists every file's SHA-256. The key is a
P-256 key made for one job; the runner's on-chain key vouches for it in the provenance statement.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.errors import Corrupted
from finetune.envelope import IN_TOTO, pre_authentication

SIGNATURE_FILE = "model.sig"
PUBLIC_KEY_FILE = "model.pub"
LIMIT = 16 << 20  # bytes of a signature file
_PREDICATE = "https://model_signing/signature/v1.0"
_IGNORED = [".git", ".gitattributes", ".github", ".gitignore"]


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """The public key as the PEM file that `model_signing verify key --public_key` reads."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign_model(name: str, digests: Mapping[str, bytes], key: ec.EllipticCurvePrivateKey) -> bytes:
    """The signature file over `digests` (path inside the folder → SHA-256) of the model folder `name`."""
    ordered = sorted(digests.items())
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": _root(digests)}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "resources": [{"name": path, "algorithm": "sha256", "digest": digest.hex()} for path, digest in ordered],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": _IGNORED,
            },
        },
    }
    payload = json.dumps(statement).encode()
    signature = key.sign(pre_authentication(IN_TOTO, payload), ec.ECDSA(hashes.SHA256()))
    return _encode(payload, signature, key.public_key())


def verify_model(data: bytes, name: str, pem: bytes) -> dict[str, bytes]:
    """The files (path inside the folder → SHA-256) that a signature file covers under the key of `pem`.

    `Corrupted` unless it is one of the model folder `name`, by a P-256 key.
    """
    try:
        envelope = json.loads(data)["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = envelope["signatures"]
        key = serialization.load_pem_public_key(pem)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("another kind of key")
        signed = pre_authentication(envelope["payloadType"], payload)
        raw = base64.b64decode(signature["sig"], validate=True)
        key.verify(raw, signed, ec.ECDSA(hashes.SHA256()))
        # What is around payload and signature is signed by nobody, so it has one form.
        if _encode(payload, raw, key) != data:
            raise ValueError("another form")
        statement: Any = json.loads(payload)
        (subject,) = statement["subject"]
        resources = statement["predicate"]["resources"]
        if any(item["algorithm"] != "sha256" for item in resources):
            raise ValueError("another hash")
        digests = {item["name"]: bytes.fromhex(item["digest"]) for item in resources}
        whole = len(digests) == len(resources) and subject == {"name": name, "digest": {"sha256": _root(digests)}}
        if not whole or statement["predicateType"] != _PREDICATE:
            raise ValueError("another statement")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidSignature, UnsupportedAlgorithm):
        raise Corrupted("The model signature does not verify.", hint="Do not rely on this adapter.") from None
    return digests


def _encode(payload: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    hint = hashlib.sha256(public_pem(key)).hexdigest()
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": IN_TOTO,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle).encode()


def _root(digests: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join(digest for _, digest in sorted(digests.items()))).hexdigest()
