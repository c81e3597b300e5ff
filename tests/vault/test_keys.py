"""The owner's keys: words and root key are one thing, slots guard it, and nothing shows it."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import encode_json
from core.errors import AllodError, Conflict, Corrupted, Denied, InvalidInput, NotFound
from core.ids import Address, VaultId
from vault.keys import KeyFile, RootKey, Stretch

CHEAP = Stretch(n=1 << 10)
ADDRESS = Address(b"\x11" * 20)
ROOT = RootKey(bytes(range(32)))


def key_file(passphrase: str = "correct horse", root: RootKey = ROOT) -> KeyFile:
    return KeyFile.create(root, passphrase, address=ADDRESS, cost=CHEAP)


def test_the_words_are_the_bip39_form_of_the_key() -> None:
    assert RootKey(bytes(32)).words() == " ".join(["abandon"] * 23 + ["art"])
    assert RootKey(b"\xff" * 32).words() == " ".join(["zoo"] * 23 + ["vote"])


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=25)
def test_words_bring_the_same_key_back_however_they_are_typed(key: bytes) -> None:
    words = RootKey(key).words()
    assert RootKey.from_words("  " + words.upper().replace(" ", "\n ") + " ") == RootKey(key)


@pytest.mark.parametrize("count", [0, 12, 23, 25])
def test_another_number_of_words_is_refused(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"24 words; {count} were given"):
        RootKey.from_words(" ".join(["abandon"] * count))


def test_a_misspelt_word_is_named_by_its_place_and_never_repeated() -> None:
    words = ROOT.words().split()
    words[6] = "sekret"
    with pytest.raises(InvalidInput, match="Word 7 of 24") as caught:
        RootKey.from_words(" ".join(words))
    assert "sekret" not in str(caught.value)
    assert "sekret" not in json.dumps(caught.value.document())


def test_two_swapped_words_fail_their_checksum() -> None:
    words = ROOT.words().split()
    words[0], words[1] = words[1], words[0]
    with pytest.raises(InvalidInput, match="checksum") as caught:
        RootKey.from_words(" ".join(words))
    assert all(word not in str(caught.value).split() for word in words if len(word) > 4)


def test_a_root_key_hides_itself() -> None:
    assert repr(ROOT) == str(ROOT) == "RootKey(hidden)"
    with pytest.raises(TypeError):
        pickle.dumps(ROOT)
    with pytest.raises(TypeError):
        hash(ROOT)


def test_two_new_root_keys_differ() -> None:
    assert RootKey.generate() != RootKey.generate()


def test_every_label_and_every_context_gives_another_key() -> None:
    keys = {
        ROOT.derive("allod/a/v1"),
        ROOT.derive("allod/b/v1"),
        ROOT.derive("allod/a/v1", b"\0" * 32),
        ROOT.derive("allod/a/v1", b"\0" * 31 + b"\1"),
        RootKey(bytes(32)).derive("allod/a/v1"),
    }
    assert len(keys) == 5


def test_derivation_is_rfc_5869_with_the_documented_info() -> None:
    import hashlib
    import hmac

    pseudo = hmac.new(bytes(32), bytes(range(32)), hashlib.sha256).digest()
    info = b"allod/wrap/v1\0" + b"v" * 32 + b"o" * 32
    assert ROOT.derive("allod/wrap/v1", b"v" * 32, b"o" * 32) == hmac.new(pseudo, info + b"\1", hashlib.sha256).digest()


def test_the_evm_key_is_in_the_curves_range_and_stable() -> None:
    key = ROOT.evm_key()
    assert key == RootKey.from_words(ROOT.words()).evm_key()
    assert 0 < int.from_bytes(key, "big") < 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert key == ROOT.derive("allod/evm/v1", bytes(4))


def test_a_key_file_opens_with_its_passphrase_only() -> None:
    kept = KeyFile.decode(key_file().encode())
    assert kept.unlock("correct horse") == ROOT
    for wrong in ("Correct horse", "correct horse ", "correct  horse"):
        with pytest.raises(Denied, match="wrong"):
            kept.unlock(wrong)


def test_a_passphrase_may_be_composed_or_decomposed_unicode() -> None:
    assert key_file("caf\u00e9").unlock("cafe\u0301") == ROOT


def test_an_empty_passphrase_is_no_passphrase() -> None:
    with pytest.raises(InvalidInput):
        key_file("")
    with pytest.raises(InvalidInput):
        key_file().unlock("")


def test_slots_open_the_same_key_and_one_always_stays() -> None:
    file = key_file("first").add_slot(ROOT, "second", cost=CHEAP)
    assert file.unlock("first") == file.unlock("second") == ROOT
    left = file.remove_slot(file.slots[0].slot_id)
    assert left.unlock("second") == ROOT
    with pytest.raises(Denied):
        left.unlock("first")
    with pytest.raises(Conflict):
        left.remove_slot(left.slots[0].slot_id)
    with pytest.raises(NotFound):
        left.remove_slot(file.slots[0].slot_id)


def test_a_foreign_root_key_gets_no_slot() -> None:
    with pytest.raises(Denied):
        key_file().add_slot(RootKey(bytes(32)), "mine now", cost=CHEAP)


@pytest.mark.parametrize("member", ["vault_id", "manifest_pk", "address"])
def test_an_edited_key_file_does_not_unlock(member: str) -> None:
    value = json.loads(key_file().encode())
    value[member] = "0x" + "77" * (20 if member == "address" else 32)
    with pytest.raises((Denied, Corrupted)):
        KeyFile.decode(encode_json(value)).unlock("correct horse")


def test_a_slot_moved_from_another_vault_does_not_open() -> None:
    one, two = key_file(), key_file()
    moved = KeyFile(one.vault_id, one.manifest_pk, one.address, two.slots)
    with pytest.raises(Denied):
        moved.unlock("correct horse")


def test_a_slots_id_salt_and_bytes_are_all_bound() -> None:
    value = json.loads(key_file().encode())
    for member in ("id", "salt", "sealed"):
        changed = json.loads(json.dumps(value))
        text = changed["slots"][0][member]
        changed["slots"][0][member] = text[:-1] + ("0" if text[-1] != "0" else "1")
        with pytest.raises(Denied):
            KeyFile.decode(encode_json(changed)).unlock("correct horse")


@pytest.mark.parametrize(
    "cost",
    [
        {"n": 1 << 21, "r": 8, "p": 1},
        {"n": 1 << 9, "r": 8, "p": 1},
        {"n": 100000, "r": 8, "p": 1},
        {"n": 1 << 17, "r": 1 << 20, "p": 1},
        {"n": 1 << 17, "r": 8, "p": 99},
        {"n": "131072", "r": 8, "p": 1},
        {"n": True, "r": 8, "p": 1},
        {"n": 0, "r": 8, "p": 1},
        {"n": 1 << 17, "r": 8},
    ],
)
def test_a_key_file_cannot_ask_for_any_cost_it_likes(cost: dict[str, Any]) -> None:
    value = json.loads(key_file().encode())
    value["slots"][0]["scrypt"] = cost
    with pytest.raises(InvalidInput):
        KeyFile.decode(encode_json(value))


@pytest.mark.parametrize(
    ("member", "content"),
    [("v", 2), ("v", True), ("type", "other"), ("slots", []), ("slots", {}), ("vault_id", "0x00"), ("more", 1)],
)
def test_a_key_file_of_another_form_is_refused(member: str, content: object) -> None:
    value = json.loads(key_file().encode())
    value[member] = content
    with pytest.raises(InvalidInput):
        KeyFile.decode(encode_json(value))


def test_a_key_file_has_one_spelling() -> None:
    data = key_file().encode()
    value = json.loads(data)
    value["manifest_pk"] = "0x" + value["manifest_pk"][2:].upper()
    with pytest.raises(InvalidInput, match="lower-case"):
        KeyFile.decode(encode_json(value))


def test_the_default_cost_is_the_designs() -> None:
    assert Stretch() == Stretch(n=131072, r=8, p=1)


def test_no_key_file_and_no_error_shows_the_key() -> None:
    file = key_file()
    key = bytes(range(32))
    assert key.hex().encode() not in file.encode()
    with pytest.raises(AllodError) as caught:
        file.unlock("wrong")
    assert key.hex() not in str(caught.value) + repr(file)


def test_a_new_vault_gets_a_random_id_and_an_old_one_keeps_its_own() -> None:
    assert key_file().vault_id != key_file().vault_id
    kept = KeyFile.create(ROOT, "x", vault_id=VaultId(b"v" * 32), address=ADDRESS, cost=CHEAP)
    assert kept.vault_id == b"v" * 32
