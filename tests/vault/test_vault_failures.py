"""A vault whose store fails at any moment: what was acknowledged stays, what was not is whole or absent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.encoding import decode_cbor, encode_cbor
from core.errors import AllodError
from core.ids import VaultId
from vault.blocks import BlockStore, Data, MemoryBlocks
from vault.carstore import CarStore
from vault.cid import Cid
from vault.datasets import Card
from vault.keys import KeyFile, Stretch
from vault.manifest import DatasetHeader, ObjectManifest, VaultHead, decode_page, encode_pages
from vault.ownrecords import open_record, seal_record
from vault.rootkey import RootKey
from vault.sharetable import ShareHead, ShareRow
from vault.vault import Vault

ROOT, VAULT_ID = RootKey(bytes(range(32))), VaultId(b"V" * 32)
NOTES = b"The mill opens at six.\nAnna has the key.\nThe weir is low.\n"


class Failing:
    """A block store that dies at its n-th change: nothing later reaches the blocks."""

    def __init__(self, blocks: BlockStore, dies_at: int) -> None:
        self._blocks = blocks
        self._left = dies_at

    def _change(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "the disk is gone")

    def room(self) -> memoryview | None:
        return self._blocks.room()

    def add(self, codec: int, data: Data) -> Cid:
        self._change()
        return self._blocks.add(codec, data)

    def put(self, cid: Cid, data: Data) -> None:
        self._change()
        self._blocks.put(cid, data)

    def put_many(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        for cid, data in blocks:
            self.put(cid, data)

    def begin(self) -> None:
        self._blocks.begin()

    def delete(self, cid: Cid) -> None:
        self._change()
        self._blocks.delete(cid)

    def flush(self) -> None:
        self._change()
        self._blocks.flush()

    def get(self, cid: Cid) -> bytes:
        return self._blocks.get(cid)

    def has(self, cid: Cid) -> bool:
        return self._blocks.has(cid)

    def missing(self, cids: Iterable[Cid]) -> list[Cid]:
        return self._blocks.missing(cids)

    def cids(self, codec: int | None = None) -> Iterator[Cid]:
        return self._blocks.cids(codec)

    def close(self) -> None:
        self._blocks.close()


def steps(vault: Vault) -> Iterator[Callable[[], object]]:
    yield lambda: vault.add_bytes("one", NOTES)
    yield lambda: vault.save_record("terms", {"a": 1})
    yield lambda: vault.add_bytes("two", b"\0" * 1_200_000)
    yield lambda: vault.build_dataset([vault.entries()[0].object_id], {"title": "t"})
    yield lambda: vault.remove(vault.entries()[1].object_id)
    yield lambda: vault.add_bytes("three", NOTES)


def state(vault: Vault) -> tuple[object, ...]:
    """What the vault holds, everything opened."""
    contents = [(entry.name, b"".join(vault.open(entry.object_id)), len(entry.datasets)) for entry in vault.entries()]
    return tuple(contents), tuple(str(record) for record in vault.records("terms")), len(vault.datasets())


def expected_states() -> list[tuple[object, ...]]:
    vault = Vault(ROOT, VAULT_ID, MemoryBlocks())
    out = [state(vault)]
    for step in steps(vault):
        step()
        out.append(state(vault))
    return out


def test_a_store_that_fails_at_any_change_leaves_a_whole_vault() -> None:
    """In memory every change that the store took is there afterwards, as after a kill without a power cut."""
    states = expected_states()
    done_at: set[int] = set()
    for dies_at in range(200):
        blocks = MemoryBlocks()
        vault = Vault(ROOT, VAULT_ID, Failing(blocks, dies_at))
        done = 0
        try:
            for step in steps(vault):
                step()
                done += 1
        except OSError:
            pass
        after = state(Vault(ROOT, VAULT_ID, blocks))
        # The step that failed may have happened, but never a part of it.
        assert after in states[done : done + 2], f"change {dies_at}, after {done} steps"
        done_at.add(done)
        if done == len(states) - 1:
            break
    assert done_at == set(range(len(states)))


def test_what_was_not_flushed_is_absent_after_reopening(tmp_path: Path) -> None:
    states = expected_states()
    for dies_at in random.sample(range(40), 8):
        folder = tmp_path / str(dies_at)
        with CarStore(folder) as blocks:
            vault = Vault(ROOT, VAULT_ID, Failing(blocks, dies_at))
            done = 0
            try:
                for step in steps(vault):
                    step()
                    done += 1
            except OSError:
                pass
        with CarStore(folder) as blocks:
            assert state(Vault(ROOT, VAULT_ID, blocks)) in states[done : done + 2]


# Hostile bytes: every decoder ends in an answer or an AllodError.


def sample_documents() -> list[tuple[Callable[[bytes], object], bytes]]:
    blocks = MemoryBlocks()
    vault = Vault(ROOT, VAULT_ID, blocks)
    entry = vault.add_bytes("x", NOTES)
    header, manifests = vault.build_dataset([entry.object_id], {"title": "t"})
    assert vault.head_cid is not None
    row = ShareRow(entry.object_id, (b"c" * 49,) * 3, (b"h" * 32,) * 3)
    head = {"v": 1, "kind": "shares", "asset": b"A" * 32, "batch": b"b" * 16, "committee": b"c" * 32, "t": 2, "n": 3}
    head |= {"sealed": [b"e" * 1168] * 3, "rows_root": b"r" * 32, "rows": 1, "sequence": 1}
    file = KeyFile.create(ROOT, "x", address=b"a" * 20, cost=Stretch(n=1024))  # type: ignore[arg-type]
    return [
        (ObjectManifest.decode, manifests[0]),
        (DatasetHeader.decode, header.encode()),
        (Card.decode, blocks.get(header.card)),
        (VaultHead.decode, blocks.get(vault.head_cid)),
        (decode_page, encode_pages([header.cid])[0]),
        (lambda data: open_record(ROOT, data), seal_record(ROOT, VAULT_ID, "k", {"a": 1})),
        (ShareRow.decode, row.encode()),
        (ShareHead.decode, encode_cbor(head)),
        (KeyFile.decode, file.encode()),
    ]


DOCUMENTS = sample_documents()


@given(st.integers(0, len(DOCUMENTS) - 1), st.data())
@settings(max_examples=300)
def test_no_changed_document_crashes_its_decoder_or_passes_for_two(which: int, data: st.DataObject) -> None:
    decode, original = DOCUMENTS[which]
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if how == "flip":
            changed[at] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del changed[at : at + data.draw(st.integers(1, 40))]
        else:
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if not changed:
            break
    try:
        value = decode(bytes(changed))
    except AllodError:
        return
    encode = getattr(value, "encode", None)
    if encode is not None:
        assert encode() == bytes(changed)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**63) | st.binary(max_size=33) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(0, len(DOCUMENTS) - 2), VALUES, st.data())
@settings(max_examples=200)
def test_a_member_of_another_type_never_passes_unnoticed(which: int, value: object, data: st.DataObject) -> None:
    decode, original = DOCUMENTS[which]
    members = decode_cbor(original)
    name = data.draw(st.sampled_from(sorted(members)))
    if members[name] == value and type(members[name]) is type(value):
        return
    changed = encode_cbor({**members, name: value})
    try:
        decoded = decode(changed)
    except AllodError:
        return
    encode = getattr(decoded, "encode", None)
    if encode is not None:
        assert encode() == changed


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xa0", b"\x80", b"\xf6", b"\x9f\xff", b"\xbf\xff", b"{}", bytes(100)])
def test_no_nonsense_is_a_document(data: bytes) -> None:
    for decode, _ in DOCUMENTS:
        with pytest.raises(AllodError):
            decode(data)
