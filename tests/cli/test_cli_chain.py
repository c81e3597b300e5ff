"""The chain in a process of its own, and the doctor, who changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from consent.chain.embedded import EmbeddedChain
from tests.cli.conftest import Said, Terminal

Wait = Callable[[Callable[[], bool], "subprocess.Popen[str]"], None]


def marks(said: Said) -> dict[str, str]:
    """The doctor's findings by part."""
    checks = said.data["checks"] if said.code == 0 else said.error["detail"]["checks"]
    assert all(one["next"] for one in checks if one["state"] == "fails"), checks
    return {one["part"]: one["state"] for one in checks}


def files(home: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with its size and when it was written; SQLite's and locks' own traces left out."""
    found = (path for path in home.rglob("*") if not path.name.endswith(("-shm", "-wal", "LOCK")))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file()}


# -- chain serve -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_served_chain_is_used_by_other_commands_and_stops_cleanly(
    lived_in: Terminal, wait_until: Wait, number: signal.Signals
) -> None:
    server = lived_in.begin("chain", "serve")
    note = lived_in.home / "chain" / "endpoint.json"
    try:
        wait_until(note.exists, server)
        assert json.loads(note.read_bytes())["pid"] == server.pid
        assert lived_in("faucet", "7", "--as", "ada").data["tokens"] == "7.00"
        assert lived_in("balance", "--as", "ada").data["tokens"] == "7.00"
        assert lived_in("earnings", "--as", "ada").data["totals"]["claimable"] == "2.03"
        assert marks(lived_in("doctor"))["chain"] == "works"
        second = lived_in("chain", "serve")
        assert second.code == 8
        assert f"process {server.pid} (" in second.error["title"]
    finally:
        server.send_signal(number)
        out, err = server.communicate(timeout=60)
    assert server.returncode == 0
    document = json.loads(out)
    assert (document["ok"], document["command"]) == (True, "chain serve")
    assert document["data"]["url"] in err  # said at once, beside the document
    assert not note.exists()
    assert lived_in("balance", "--as", "ada").data["tokens"] == "7.00"


def test_a_chain_that_is_held_and_not_served_names_its_holder(lived_in: Terminal) -> None:
    with EmbeddedChain(lived_in.home / "chain"):
        for words in (["balance", "--as", "ada"], ["chain", "serve"]):
            said = lived_in(*words)
            assert (said.code, said.error["type"]) == (8, "busy")
            assert f"process {os.getpid()} (" in said.error["title"]
            assert said.error["next"]
        assert lived_in("vault", "list", "--as", "ada").code == 0  # a vault needs no chain
        doctor = lived_in("doctor")
        assert marks(doctor)["chain"] == "fails"
        assert str(os.getpid()) in doctor.out
    assert lived_in("balance", "--as", "ada").code == 0


def test_a_server_that_was_killed_leaves_nothing_in_the_way(lived_in: Terminal, wait_until: Wait) -> None:
    server = lived_in.begin("chain", "serve")
    note = lived_in.home / "chain" / "endpoint.json"
    wait_until(note.exists, server)
    server.kill()
    server.communicate()
    assert note.exists()
    assert lived_in("balance", "--as", "ada").code == 0
    assert marks(lived_in("doctor"))["chain"] == "works"


def test_a_port_that_is_taken_is_said_so(lived_in: Terminal) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = lived_in("chain", "serve", "--port", taken.getsockname()[1])
    assert said.code == 8
    assert "port" in said.error["next"]


# -- doctor ----------------------------------------------------------------------------------------------------------


def test_the_doctor_makes_nothing_in_an_empty_place(allod: Terminal) -> None:
    before = set(allod.home.parent.rglob("*"))
    said = allod("doctor")
    assert marks(said)["world"] == "absent"
    assert "There is no world" in allod("doctor", json=False).out
    allod.home.mkdir()
    assert marks(allod("doctor"))["world"] == "absent"
    assert set(allod.home.parent.rglob("*")) == before | {allod.home}


def test_the_doctor_finds_a_lived_in_home_well_and_leaves_it_as_it_was(lived_in: Terminal) -> None:
    before = files(lived_in.home)
    found = marks(lived_in("doctor", "--deep"))
    assert set(found.values()) <= {"works", "absent"}
    needed = {"home", "disk", "clock", "identities", "database", "blocks", "chain", "contracts", "keepers", "runner"}
    assert {part for part, state in found.items() if state == "works"} >= needed
    assert files(lived_in.home) == before
    people = lived_in("doctor", json=False)
    assert people.out.count("✓") >= len(needed)
    assert "✗" not in people.out


def test_the_doctor_needs_only_what_is_there(allod: Terminal) -> None:
    allod("vault", "init", "--as", "ada")
    (allod.home.parent / "x.txt").write_text("x")
    allod("vault", "add", "x.txt")
    found = marks(allod("doctor"))
    assert found["chain"] == "absent"
    assert found["blocks"] == "works"
    assert not (allod.home / "chain").exists()


def spoil_key_file(home: Path) -> None:
    (home / "identities" / "ada.json").write_text("{}")


def spoil_keeper(home: Path) -> None:
    (home / "keepers" / "2" / "keeper.sqlite").unlink()


def spoil_keeper_keys(home: Path) -> None:
    (home / "keepers" / "1" / "signing.key").unlink()


def spoil_committee(home: Path) -> None:
    (home / "keepers" / "committee.json").write_text("{}")


def spoil_contracts(home: Path) -> None:
    path = home / "chain" / "deployment.json"
    document = json.loads(path.read_text())
    document["registry"], document["escrow"] = document["escrow"], document["registry"]
    path.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))


def spoil_database(home: Path) -> None:
    for path in home.glob("allod.db*"):
        path.unlink()
    (home / "allod.db").write_bytes(b"no database" * 500)


def spoil_chain(home: Path) -> None:
    for path in (home / "chain").glob("chain.sqlite*"):
        path.unlink()
    (home / "chain" / "chain.sqlite").write_bytes(b"no chain" * 500)


@pytest.mark.parametrize(
    ("part", "spoil"),
    [
        ("identities", spoil_key_file),
        ("keepers", spoil_keeper),
        ("keepers", spoil_keeper_keys),
        ("keepers", spoil_committee),
        ("contracts", spoil_contracts),
        ("database", spoil_database),
        ("chain", spoil_chain),
    ],
)
def test_the_doctor_finds_the_part_that_is_broken(lived_in: Terminal, part: str, spoil: Callable[[Path], None]) -> None:
    spoil(lived_in.home)
    said = lived_in("doctor")
    assert said.code == 9
    assert marks(said)[part] == "fails"
    assert part in said.error["title"]
    people = lived_in("doctor", json=False)
    assert people.code == 9
    assert f"✗ {part}" in people.out


def test_a_lost_index_is_no_illness_and_a_lost_segment_is_one(lived_in: Terminal) -> None:
    for path in (lived_in.home / "blocks").glob("index*"):
        path.unlink()
    assert marks(lived_in("doctor", "--deep"))["blocks"] == "works"
    assert not list((lived_in.home / "blocks").glob("index*"))
    assert len(lived_in("vault", "list", "--as", "ada").data["objects"]) == 3
    for path in (lived_in.home / "blocks").glob("*.car"):
        path.unlink()
    said = lived_in("doctor", "--deep")
    assert (said.code, marks(said)["blocks"]) == (9, "fails")


def test_the_doctor_looks_at_the_endpoint_that_is_set(lived_in: Terminal) -> None:
    dead = lived_in("doctor", rpc_url="http://127.0.0.1:9")
    assert (dead.code, marks(dead)["chain"]) == (9, "fails")
    shutil.rmtree(lived_in.home / "chain")
    assert marks(lived_in("doctor", rpc_url="http://127.0.0.1:9"))["chain"] == "fails"


def test_a_home_that_cannot_be_written_to_is_said_so(allod: Terminal) -> None:
    allod.home.write_text("a file")
    said = allod("doctor")
    assert (said.code, marks(said)["home"]) == (9, "fails")
    other = allod("vault", "init", "--as", "ada")
    assert other.code == 9
    assert other.error["next"]
