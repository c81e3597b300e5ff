"""A job's key is sealed from the moment it exists, and gone when the job is."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Corrupted, NotFound
from finetune.jobkey import Runner, open_runner
from vault.hpke import hpke_generate, hpke_public


def test_a_machine_keeps_its_identity(tmp_path: Path) -> None:
    first, again = open_runner(tmp_path / "runner"), open_runner(tmp_path / "runner")
    assert first.account.address == again.account.address
    assert open_runner(tmp_path / "other").account.address != first.account.address
    assert (tmp_path / "runner" / "machine.key").stat().st_mode & 0o077 == 0


def test_a_sealed_key_opens_on_its_machine_only(tmp_path: Path) -> None:
    mine, other = open_runner(tmp_path / "runner"), open_runner(tmp_path / "other")
    public = mine.keys.create()
    private = mine.keys.open(public)
    assert hpke_public(private) == public
    with pytest.raises(NotFound):
        other.keys.open(public)
    stolen = next((tmp_path / "runner" / "keys").iterdir())
    (tmp_path / "other" / "keys").mkdir()
    (tmp_path / "other" / "keys" / stolen.name).write_bytes(stolen.read_bytes())
    with pytest.raises(Corrupted):
        other.keys.open(public)
    assert private not in stolen.read_bytes()
    assert stolen.stat().st_mode & 0o077 == 0


def test_a_key_that_this_machine_did_not_make_is_unknown_to_it(tmp_path: Path) -> None:
    _, foreign = hpke_generate()
    with pytest.raises(NotFound):
        open_runner(tmp_path).keys.open(foreign)


def test_a_destroyed_key_never_opens_again(tmp_path: Path) -> None:
    keys = open_runner(tmp_path).keys
    public = keys.create()
    keys.destroy(public)
    keys.destroy(public)
    assert not keys.holds(public)
    with pytest.raises(NotFound):
        keys.open(public)
    assert list((tmp_path / "keys").iterdir()) == []


def test_damage_to_a_sealed_key_is_noticed(tmp_path: Path) -> None:
    keys = open_runner(tmp_path).keys
    public = keys.create()
    path = next((tmp_path / "keys").iterdir())
    whole = path.read_bytes()
    for position in (0, 10, len(whole) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(bytes(changed))
        with pytest.raises((Corrupted, NotFound)):
            keys.open(public)


def test_no_key_shows_in_words(tmp_path: Path) -> None:
    runner = Runner(b"\7" * 32, tmp_path)
    assert "07" * 8 not in repr(runner)
    assert repr(runner).startswith("Runner(0x")
