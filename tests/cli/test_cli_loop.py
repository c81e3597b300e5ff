"""Consents, money and jobs by hand, as far as they need no training; owners never hold money for gas."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.conftest import Terminal
from tests.cli.prepared import EPOCHS, FEE, FLAT, RATE, make_base

PRICE = FLAT + RATE * EPOCHS  # NOTES is one record


def live(allod: Terminal, who: str) -> dict[str, str]:
    """The consents that somebody sees, and the chain's word on each."""
    return {one["consent"]: one["state"] for one in allod("consent", "list", "--as", who).data["consents"]}


def wei(allod: Terminal, who: str) -> str:
    native: str = allod("balance", "--as", who).data["native_wei"]
    return native


def tokens(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int(part.ljust(6, "0"))


def publish(allod: Terminal, *more: object) -> dict[str, Any]:
    data: dict[str, Any] = allod("dataset", "publish", "diary.txt", "--title", "Diary", "--as", "ada", *more).data
    return data


def test_publish_grant_take_revoke_by_hand_and_the_owner_needs_no_gas(lived_in: Terminal) -> None:
    allod = lived_in
    asset = publish(allod, "--flat", "1.50", "--purpose", "service-provision")["asset"]
    shown = allod("dataset", "show", asset).data
    assert (shown["terms"]["flat"], shown["records"]) == ("1.50", 1)
    before = live(allod, "ada")
    granted = allod("consent", "grant", asset, "--to", "tess", "--purpose", "service-provision", "--as", "ada").data
    offered = allod("consent", "offer", asset, "--purpose", "service-provision", "--days", "3", "--as", "ada").data
    assert live(allod, "ada") == before | {granted["consent"]: "live", offered["consent"]: "open to all"}
    assert live(allod, "tess")[offered["consent"]] == "on offer"
    taken = allod("consent", "take", offered["consent"][:14], "--as", "tess").data
    assert live(allod, "tess")[offered["consent"]] == "live"
    twice = allod("consent", "take", offered["consent"], "--as", "tess")
    assert twice.code in (5, 6)
    assert twice.error["next"]
    assert taken["token"] != granted["token"]
    ended = allod("consent", "revoke", granted["consent"], "--as", "ada").data
    assert (ended["keepers_stored"], ended["keepers_needed"]) == (3, 2)
    states = live(allod, "tess")
    assert "revoked" in states[granted["consent"]]
    assert states[offered["consent"]] == "live"
    allod("consent", "revoke", offered["consent"], "--as", "ada")
    assert "revoked" in live(allod, "tess")[offered["consent"]]
    assert live(allod, "ada")[offered["consent"]] == "revoked"
    assert wei(allod, "ada") == "0"


def test_a_dataset_under_other_terms_is_still_consented_to_as_it_is_listed(lived_in: Terminal) -> None:
    allod = lived_in
    words = ("dataset", "publish", "photo.bin", "--title", "Photo", "--as", "ada", "--days")
    assert "come next" in allod(*words, "9", json=False).out
    assert "under other terms" in allod(*words, "90", json=False).out
    offer = ("consent", "offer", str(len(allod("dataset", "list").data["datasets"])), "--as", "ada")
    assert re.search("terms end in [89] days", allod(*offer, "--days", "30").error["title"])


def test_revoking_everything_ends_everything(lived_in: Terminal) -> None:
    assert "live" in live(lived_in, "tess").values()
    lived_in("consent", "revoke", "--all", "--as", "ada")
    assert all("revoked" in state for state in live(lived_in, "ada").values())
    assert "live" not in live(lived_in, "tess").values()


def test_only_the_owner_ends_a_consent_and_only_what_is_offered_is_taken(lived_in: Terminal) -> None:
    consents = lived_in("consent", "list", "--as", "ada").data["consents"]
    named = next(one["consent"] for one in consents if one["kind"] == "grant")
    for words in (["consent", "revoke", named], ["consent", "take", named]):
        said = lived_in(*words, "--as", "tess")
        assert said.code not in (0, 70), said.out
        assert "Act as its owner" in said.out or "offer" in said.out
    assert live(lived_in, "ada")[named] == "live"


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["consent", "grant", "ASSET", "--to", "nobody"], "nobody"),
        (["consent", "grant", "ASSET", "--to", "0x1234"], ""),
        (["consent", "grant", "ASSET", "--to", "0x" + "0" * 40], ""),
        (["consent", "grant", "ASSET", "--to", "tess", "--purpose", "world-domination"], "world-domination"),
        (["consent", "offer", "ASSET", "--purpose", "marketing"], "marketing"),
        (["consent", "offer", "ASSET", "--days", "4000"], "The dataset's terms end in 36"),
        (["consent", "grant", "ASSET", "--to", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed"], "mistyped"),
        (["consent", "offer", "0x12345678"], ""),
        (["consent", "revoke"], ""),
        (["consent", "revoke", "0x12345678"], ""),
        (["dataset", "publish", "9", "--title", "x"], ""),
        (["dataset", "publish", "1", "--title", "x", "--flat", "-1"], ""),
        (["dataset", "publish", "1", "--title", "x", "--flat", "1,5"], ""),
        (["dataset", "publish", "1", "--title", "x", "--purpose", "everything"], "everything"),
        (["dataset", "publish", "1", "--title", "x", "--payee", "0x12"], ""),
        (["dataset", "publish", "1", "--title", "x", "--payee", "0x" + "0" * 40], ""),
        (["dataset", "publish", "1", "--title", "x", "--base-model", "0xzz"], ""),
        (["dataset", "publish", "1", "--title", "x", "--sample", "nowhere"], ""),
        (["dataset", "publish", "1", "--title", "x", "--days", "99999"], ""),
        (["faucet", "lots"], ""),
        (["faucet", "0.0000000001"], ""),
        (["withdraw", "5"], ""),
        (["deposit", "5"], ""),
        (["deposit", "0"], ""),
        (["job", "show", "nothing"], ""),
        (["job", "settle", "1"], ""),
        (["job", "reclaim", "1"], ""),
        (["job", "verify", "1", "--rpc", "http://127.0.0.1:9"], ""),
        (["job", "verify", "nowhere", "--rpc", "http://127.0.0.1:9", "--trust", "nowhere.json"], ""),
        (["job", "quote", "--base", "./nowhere"], ""),
        (["job", "quote", "--base", "base", "--purpose", "mischief"], ""),
        (["job", "quote", "0x12345678", "--base", "base"], ""),
        (["vault", "preview", ""], ""),
        (["vault", "show", "0"], ""),
        (["vault", "show", "-1"], ""),
        (["vault", "init", "--as", "x", "--address", "0x12"], ""),
        (["vault", "restore", "--as", "x", "--words-file", "nowhere"], ""),
        (["demo", "--data", "base/nowhere"], ""),
        (["chain", "serve", "--port", "99999"], ""),
    ],
    ids=" ".join,
)
def test_silly_input_is_refused_with_a_way_on(lived_in: Terminal, words: list[str], fragment: str) -> None:
    make_base(lived_in.home.parent / "base")
    asset = lived_in("dataset", "list").data["datasets"][0]["asset"]
    before = {one["name"] for one in lived_in("vault", "list", "--as", "ada").data["objects"]}, live(lived_in, "ada")
    words = [asset if word == "ASSET" else word for word in words]
    said = lived_in(*words, *([] if "--as" in words else ["--as", "ada"]))
    assert said.code in range(2, 11), said.out
    assert said.error["title"]
    assert said.error["next"], said.error
    assert fragment in said.out
    after = {one["name"] for one in lived_in("vault", "list", "--as", "ada").data["objects"]}, live(lived_in, "ada")
    assert before == after


def test_money_goes_in_and_out_of_the_escrow(lived_in: Terminal) -> None:
    allod = lived_in
    start = allod("balance", "--as", "tess").data
    allod("faucet", "100.5", "--as", "tess")
    allod("deposit", "40.25", "--as", "tess")
    allod("withdraw", "0.25", "--as", "tess")
    end = allod("balance", "--as", "tess").data
    assert tokens(end["tokens"]) - tokens(start["tokens"]) == tokens("60.5")
    assert tokens(end["deposited"]) - tokens(start["deposited"]) == tokens("40")
    too_much = allod("withdraw", "999999", "--as", "tess")
    assert too_much.error["next"]
    assert too_much.code in (5, 6)


def test_an_owner_sees_and_claims_what_a_job_earned_without_gas(lived_in: Terminal) -> None:
    allod = lived_in
    earned = allod("earnings", "--as", "ada").data
    assert tokens(earned["totals"]["claimable"]) == PRICE
    claimed = allod("claim", "--as", "ada").data
    assert tokens(claimed["paid"]) == PRICE
    assert allod("claim", "--as", "ada").data["paid"] == "0.00"
    assert tokens(allod("balance", "--as", "ada").data["tokens"]) == PRICE
    assert tokens(allod("earnings", "--as", "ada").data["totals"]["paid"]) == PRICE
    assert wei(allod, "ada") == "0"


def test_earnings_are_found_when_the_jobs_folder_and_the_keepers_are_gone(lived_in: Terminal) -> None:
    import shutil

    earned = lived_in("earnings", "--as", "ada").data
    for name in ("jobs", "keepers"):
        shutil.rmtree(lived_in.home / name)
    assert lived_in("earnings", "--as", "ada").data == earned
    assert not (lived_in.home / "keepers").exists()
    for path in (lived_in.home / "blocks").iterdir():
        path.unlink()
    assert lived_in("earnings", "--as", "ada").data["earnings"] == []


def test_a_quote_names_every_payee_and_moves_no_money(lived_in: Terminal) -> None:
    allod = lived_in
    make_base(allod.home.parent / "base")
    before = allod("balance", "--as", "tess").data
    quoted = allod("job", "quote", "--base", "base", "--fee", "0.25", "--epochs", "2", "--as", "tess").data
    (line,) = quoted["lines"]
    assert (tokens(line["amount"]), tokens(quoted["total"])) == (FLAT + 2 * RATE, FLAT + 2 * RATE + 250_000)
    assert line["payee"] == allod("whoami", "--as", "ada").data["address"]
    assert allod("balance", "--as", "tess").data == before
    jobs = {one["job"]: one["state"] for one in allod("job", "list").data["jobs"]}
    assert jobs == {1: "done", quoted["job"]: "quoted"}
    assert allod("job", "show", quoted["job"]).data["money"] == "No money has moved."
    too_many = allod("job", "quote", "--base", "base", "--epochs", "11", "--as", "tess")
    assert (too_many.code, "the terms allow 10" in too_many.error["title"]) == (5, True)
    facts = {json.loads(path.read_text())["facts"].get("base") for path in allod.home.glob("jobs/*/state.json")}
    assert str((allod.home.parent / "base").resolve()) in facts  # `job run` finds the model again by itself
    recipes = [path.read_text() for path in allod.home.glob("jobs/*/recipe.json")]
    assert not [text for text in recipes if str(allod.home.parent) in text]  # a recipe is public


def test_a_job_that_is_over_says_how_it_ended(lived_in: Terminal) -> None:
    shown = lived_in("job", "show", "1").data
    assert (shown["state"], tokens(shown["total"]), tokens(shown["remaining"])) == ("done", PRICE + FEE, PRICE + FEE)
    assert {one["what"] for one in shown["transactions"]} == {"open", "confirm"}
    assert lived_in("job", "show", shown["id"][:10]).data == shown
    ran = lived_in("job", "run", "1", "--as", "tess").data
    assert (ran["outcome"], tokens(ran["refunded"])) == ("confirmed", 0)
    assert [tokens(one["paid"]) for one in ran["leaves"] if not one["fee"]] == [PRICE]
    assert lived_in("job", "verify", "1").data["vouched"] is False


def test_reclaiming_waits_until_the_owners_time_is_over(lived_in: Terminal) -> None:
    early = lived_in("job", "reclaim", "1", "--as", "tess")
    assert early.code == 5
    foreign = lived_in("job", "reclaim", "1", "--as", "ada")
    assert foreign.code == 3
    from consent.chain.joining import open_chain

    with open_chain(lived_in.home) as chain:
        chain.advance(181 * 86400)
    before = tokens(lived_in("balance", "--as", "tess").data["deposited"])
    lived_in("job", "reclaim", "1", "--as", "tess")
    assert tokens(lived_in("balance", "--as", "tess").data["deposited"]) == before + PRICE + FEE
    assert lived_in("earnings", "--as", "ada").data["totals"]["claimable"] == "0.00"
    again = lived_in("job", "reclaim", "1", "--as", "tess")
    assert again.code == 6
    assert again.error["next"]


def test_there_is_no_faucet_elsewhere(lived_in: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consent.chain.client.DEVELOPMENT_CHAIN_ID", 1)
    said = lived_in("faucet", "--as", "tess")
    assert said.code == 5
    assert said.error["next"]
