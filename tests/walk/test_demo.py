"""`allod demo` tells the truth: what it shows is what happened, and the two who refused are refused.

On real nodes (a kubo node, an anvil chain, three keepers in processes of their own) the story is the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real import need

pytestmark = [
    pytest.mark.needs_trainer,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


def run_demo(*words: str) -> dict[str, Any]:
    kept = ("ALLOD_TOOLS", "ALLOD_CONFIG")
    environment = {name: value for name, value in os.environ.items() if name in kept or not name.startswith("ALLOD_")}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "allod", "demo", "--json", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    document = json.loads(ran.stdout)
    assert document["ok"]
    figures: dict[str, Any] = document["data"]
    return figures


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.needs_nodes)])
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if request.param == "real":
        need("anvil")
        need("ipfs")
    return run_demo("--nodes", request.param, "--home", str(tmp_path_factory.mktemp("world") / "demo"))


def units(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int(part.ljust(6, "0") or 0)


def test_the_two_who_did_not_consent_are_refused_with_the_keepers_reasons(shipped: dict[str, Any]) -> None:
    reasons = {item["owner"]: " ".join(item["reasons"]) for item in shipped["refused"]}
    assert set(reasons) == {"chiara", "dario"}
    assert "revoked" in reasons["chiara"]
    assert "never granted" in reasons["dario"]


def test_every_used_owner_is_paid_exactly_and_the_rest_is_refunded(shipped: dict[str, Any]) -> None:
    published = {row["owner"]: row for row in shipped["published"]}
    paid = {row["who"]: row for row in shipped["balances"]}
    for name in ("ada", "bruno"):
        row = published[name]
        due = units(row["flat"]) + units(row["per_record_epoch"]) * row["records"] * 14
        assert units(paid[name]["after"]) == due > 0
    assert units(paid["ada"]["after"]) != units(paid["bruno"]["after"])
    for name in ("chiara", "dario"):
        assert units(paid[name]["after"]) == 0
    assert units(shipped["locked"]) == units(shipped["paid"]) + units(shipped["refunded"])
    spent = units(paid["trainer"]["before"]) - units(paid["trainer"]["after"])
    assert spent == units(shipped["paid"])


def test_real_nodes_are_processes_of_their_own_that_end_with_the_story(shipped: dict[str, Any]) -> None:
    nodes = shipped["nodes"]
    if nodes:
        assert [node["node"] for node in nodes] == ["kubo", "anvil", "keeper 1", "keeper 2", "keeper 3"]
        assert len({node["pid"] for node in nodes}) == 5
    assert not [node for node in nodes if Path(f"/proc/{node['pid']}").exists()]


def test_owners_never_held_any_native_money(shipped: dict[str, Any]) -> None:
    owners = [row for row in shipped["balances"] if row["who"] != "trainer"]
    assert [row["native_wei"] for row in owners] == ["0"] * 4


def test_the_tuned_model_knows_what_consented_files_say_and_the_base_does_not(shipped: dict[str, Any]) -> None:
    used = [fact for fact in shipped["facts"] if fact["owner"] in ("ada", "bruno")]
    assert len([fact for fact in used if fact["tuned_knows"]]) >= 20
    assert not [fact for fact in shipped["facts"] if fact["base_knows"]]
    refused = [fact for fact in shipped["facts"] if fact["owner"] in ("chiara", "dario")]
    assert len(refused) >= 10
    assert not [fact for fact in refused if fact["tuned_knows"]]


def test_the_held_out_loss_of_used_owners_falls(shipped: dict[str, Any]) -> None:
    assert shipped["losses_are_heldout"]
    for name in ("ada", "bruno"):
        assert shipped["losses"][name]["after"] < 0.7 * shipped["losses"][name]["before"]


def test_a_stranger_verifies_the_bundle_and_catches_the_forger(shipped: dict[str, Any]) -> None:
    assert shipped["verify"]["holds"]
    assert shipped["verify"]["vouched"]
    broken = {item["slug"] for item in shipped["verify_tampered"]["sentences"] if not item["holds"]}
    assert broken == {"statement", "payees"}


def test_ones_own_files_play_too_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    data = tmp_path / "mine"
    (data / "grete").mkdir(parents=True)
    (data / "grete" / "notes.md").write_text(
        "# Notes\n\nDie Mühle öffnet um sieben. Ωmega 水車小屋 🌾.\n" * 12, "utf-8"
    )
    (data / "grete" / "photo.bin").write_bytes(bytes(range(256)) * 8)
    (data / "hans.txt").write_text("The ferry leaves at nine.\nThe ferry does not wait.\n" * 6, "utf-8")
    figures = run_demo("--home", str(tmp_path / "world"), "--data", str(data))
    assert {row["owner"] for row in figures["published"]} == {"grete", "hans"}
    assert figures["refused"] == []
    assert [item["name"] for item in figures["left_out"] if item["owner"] == "grete"] == ["grete/photo.bin"]
    assert figures["verify"]["holds"]
