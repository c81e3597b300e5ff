"""Hostile documents, files and neighbours against the vault: each ends in a sentence, soon, and takes nothing along."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core import files
from core.encoding import decode_cbor, decode_json, encode_cbor, encode_json
from core.errors import Conflict, InvalidInput
from core.files import write_pieces
from core.ids import VaultId
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, Cid
from vault.manifest import DatasetHeader
from vault.rootkey import RootKey
from vault.vault import Vault

SHARED, SHARE, STRINGS, STRING, FRACTION = b"\xd8\x1c", b"\xd8\x1d", b"\xd9\x01\x00", b"\xd8\x19", b"\xd8\x1e"


def laughs(depth: int) -> bytes:
    """Arrays that hold the one before them twice, by reference: 2^depth values in a few bytes."""
    levels = [SHARED + b"\x82" + 2 * (SHARE + bytes([0x18, level])) for level in range(depth)]
    return b"\x98" + bytes([depth + 1]) + SHARED + b"\x81\x00" + b"".join(levels)


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(laughs(30), id="values that share each other"),
        pytest.param(
            STRINGS
            + b"\x9a\x00\x08\x00\x00\x5a\x00\x10\x00\x00"
            + bytes(1 << 20)
            + (STRING + b"\x00") * ((1 << 19) - 1),
            id="one long string named half a million times",
        ),
        pytest.param(
            FRACTION
            + b"\x82"
            + b"\xc2\x5a\x00\x10\x00\x00"
            + b"\xfe" * (1 << 20)
            + b"\xc2\x5a\x00\x10\x00\x00"
            + b"\xfd" * (1 << 20),
            id="a fraction to be shortened",
        ),
        pytest.param(b"\x81" * 3_000_000, id="nested without end"),
        pytest.param(b"\xd8\x2a" * 1_500_000, id="links of links"),
        pytest.param(b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", id="a list of more than there is"),
        pytest.param(b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff", id="bytes of more than there are"),
        pytest.param(b"\x9f" * 1_000_000, id="lists left open"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x19", id="a number cut off"),
    ],
)
def test_a_document_that_stands_for_more_than_it_says_is_refused_at_once(bomb: bytes) -> None:
    began = time.process_time()
    with pytest.raises(InvalidInput):
        decode_cbor(bomb, limit=len(bomb))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"\\udfff":1}', b'["a\\ud800b"]'])
def test_half_a_character_is_no_document(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_json(text)
    with pytest.raises(InvalidInput):
        encode_json({"name": "\ud800"})
    with pytest.raises(InvalidInput):
        encode_cbor({"name": "\ud800"})


# Plaintext that is being written out.


@pytest.mark.parametrize("nameless", [True, False], ids=["nameless", "with a name"])
def test_a_stream_becomes_a_private_file_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nameless: bool
) -> None:
    if not nameless:
        monkeypatch.setattr(files, "_OWN_DESCRIPTORS", str(tmp_path / "absent"))
    path = tmp_path / "out"

    def failing() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("no more")

    for overwrite in (False, True):
        with pytest.raises(RuntimeError):
            write_pieces(path, failing(), overwrite=overwrite)
        assert list(tmp_path.iterdir()) == []
    assert write_pieces(path, iter([b"whole", b" ", b"file"])) == 10
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        write_pieces(path, iter([b"other"]))
    with pytest.raises(RuntimeError):
        write_pieces(path, failing(), overwrite=True)
    assert path.read_bytes() == b"whole file"
    path.chmod(0o644)
    assert write_pieces(path, iter([b"new"]), overwrite=True) == 3
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_kill_in_mid_stream_leaves_no_plaintext(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom core.files import write_pieces\n"
        "def pieces():\n    yield b'secret' * 1000\n    print('written', flush=True)\n    sys.stdin.read()\n"
        "write_pieces(Path(sys.argv[1]), pieces())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        writer.kill()
    assert list(tmp_path.iterdir()) == []


def test_replacing_takes_the_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"keep")
    (tmp_path / "out").symlink_to(tmp_path / "target")
    write_pieces(tmp_path / "out", iter([b"new"]), overwrite=True)
    assert (tmp_path / "target").read_bytes() == b"keep"
    assert not (tmp_path / "out").is_symlink()


def test_a_device_or_a_pipe_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Conflict, match="not a file"):
        write_pieces(tmp_path / "pipe", iter([b"new"]), overwrite=True)
    assert (tmp_path / "pipe").is_fifo()


# Blocks that strangers bring, and blocks that get lost.


ROOT = RootKey(bytes(range(32)))


def filled() -> tuple[MemoryBlocks, Vault, DatasetHeader]:
    """A vault of two objects, the first of which is in a dataset."""
    blocks = MemoryBlocks()
    vault = Vault(ROOT, VaultId(b"V" * 32), blocks)
    first = vault.add_bytes("one.txt", b"The mill opens at six.\n")
    vault.add_bytes("two.txt", b"Anna has the key.\n")
    header, _ = vault.build_dataset([first.object_id], {"title": "mill"})
    return blocks, vault, header


@pytest.mark.parametrize(
    "change",
    [
        {"vault_id": VaultId(b"W" * 32)},
        {"card": Cid.of(DAG_CBOR, b"nothing")},
        {"root": b"r" * 32},
        {"objects": 2},
    ],
)
def test_a_strangers_header_that_names_our_key_does_not_disturb_a_salvage(change: dict[str, object]) -> None:
    blocks, vault, header = filled()
    forged = replace(header, **change)  # type: ignore[arg-type]
    blocks.add(DAG_CBOR, forged.encode())
    again = Vault.salvage(ROOT.words(), blocks)
    assert again.vault_id == vault.vault_id
    assert sorted(entry.name for entry in again.entries()) == ["one.txt", "two.txt"]
    assert again.datasets() == [header]


def test_one_lost_description_hides_one_object_and_is_told() -> None:
    blocks, vault, _ = filled()
    lost, kept = vault.entries()
    blocks.delete(lost.manifest)
    again = Vault(ROOT, vault.vault_id, blocks)
    assert [entry.name for entry in again.entries()] == ["two.txt"]
    assert again.unreadable() == [lost.manifest]
    assert b"".join(again.open(kept.object_id)) == b"Anna has the key.\n"
    again.add_bytes("three.txt", b"The weir is low.\n")
    blocks.add(DAG_CBOR, vault.manifest(lost.object_id).encode())  # the backup was found
    assert [entry.name for entry in Vault(ROOT, vault.vault_id, blocks).entries()] == [
        "one.txt",
        "two.txt",
        "three.txt",
    ]


def test_a_dataset_whose_card_is_lost_takes_no_object_along_and_keeps_its_protection() -> None:
    blocks, vault, header = filled()
    blocks.delete(header.card)
    again = Vault(ROOT, vault.vault_id, blocks)
    first, second = again.entries()
    assert (first.name, second.name) == ("one.txt", "two.txt")
    assert again.unreadable() == [header.cid]
    with pytest.raises(Conflict, match="may be published"):
        again.remove(first.object_id)
    again.remove(second.object_id, even_if_published=True)
    assert [entry.name for entry in again.entries()] == ["one.txt"]


def test_folders_within_folders_without_end_are_walked(tmp_path: Path) -> None:
    vault = filled()[1]
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(700):
        os.mkdir("d", dir_fd=place)
        place, above = os.open("d", os.O_RDONLY, dir_fd=place), place
        os.close(above)
    file = os.open("deep.txt", os.O_WRONLY | os.O_CREAT, dir_fd=place)
    os.write(file, b"Far down.\n")
    os.close(file)
    os.close(place)
    added = vault.add_tree(tmp_path / "d")
    assert [entry.name.rpartition("/")[2] for entry in added.entries] == ["deep.txt"]


def test_nothing_in_a_home_is_for_others_to_read(tmp_path: Path) -> None:
    home, passphrase = tmp_path / "home", tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    (tmp_path / "note.txt").write_text("The weir is low.\n")
    environment = {**os.environ, "ALLOD_HOME": str(home), "ALLOD_PASSPHRASE_FILE": str(passphrase)}
    for words in (["vault", "init"], ["vault", "add", str(tmp_path / "note.txt")]):
        subprocess.run(
            [sys.executable, "-m", "allod", *words], env=environment, check=True, capture_output=True, umask=0o022
        )
    found = {path: path.stat().st_mode & 0o077 for path in (home, *home.rglob("*"))}
    assert len(found) > 5
    assert not any(found.values()), found
