"""A wrap opens in its own place only."""

from __future__ import annotations

import pytest

from core.errors import Corrupted
from core.ids import VaultId
from vault.keys import RootKey
from vault.wrapping import OVERHEAD, unwrap, wrap

ROOT, VAULT, THING = RootKey(b"k" * 32), VaultId(b"v" * 32), b"o" * 32


def test_a_wrap_gives_its_content_back_and_never_the_same_bytes_twice() -> None:
    one, two = (wrap(ROOT, "allod/wrap/v1", VAULT, THING, b"secret") for _ in range(2))
    assert one != two
    assert len(one) == len(b"secret") + OVERHEAD
    assert unwrap(ROOT, "allod/wrap/v1", VAULT, THING, one) == b"secret"


@pytest.mark.parametrize(
    ("root", "label", "vault_id", "thing"),
    [
        (RootKey(b"K" * 32), "allod/wrap/v1", VAULT, THING),
        (ROOT, "allod/meta/v1", VAULT, THING),
        (ROOT, "allod/wrap/v1", VaultId(b"V" * 32), THING),
        (ROOT, "allod/wrap/v1", VAULT, b"O" * 32),
    ],
    ids=["another root key", "another label", "another vault", "another object"],
)
def test_a_wrap_does_not_open_elsewhere(root: RootKey, label: str, vault_id: VaultId, thing: bytes) -> None:
    sealed = wrap(ROOT, "allod/wrap/v1", VAULT, THING, b"secret")
    with pytest.raises(Corrupted):
        unwrap(root, label, vault_id, thing, sealed)


def test_a_changed_or_shortened_wrap_does_not_open() -> None:
    sealed = wrap(ROOT, "allod/wrap/v1", VAULT, THING, b"secret")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(Corrupted):
            unwrap(ROOT, "allod/wrap/v1", VAULT, THING, bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(Corrupted):
            unwrap(ROOT, "allod/wrap/v1", VAULT, THING, sealed[:length])
