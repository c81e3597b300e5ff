"""Three people found a committee, serve it, and a client that accepts its document uses, checks and audits it."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from allod.checkup import Finding, Mark, look_over
from allod.world import World
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy
from consent.chain.embedded import EmbeddedChain, developer
from consent.chain.rpc import serving
from consent.committee import Committee
from consent.keeper.asking import Patience
from consent.keeper.client import revoke_everywhere
from consent.keeper.founding import Card, Draft
from consent.keeper.keys import KeeperKeys
from consent.keeper.revocation import RevokeAll
from core.errors import AllodError, Conflict, Corrupted, Denied, InvalidInput, NotFound
from core.settings import Settings
from tests.keeper.processes import PATIENT, ROOT, KeeperProcess

Say = Callable[..., Any]


@pytest.fixture(autouse=True)
def patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine makes nobody's keeper slow."""
    monkeypatch.setattr("allod.checkup.KEEPER_PATIENCE", PATIENT)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """`allod keeper` with these words, in this process: its data, or the error that it says raised again."""
    from allod.cli.main import build

    def run(*words: object) -> Any:
        called = ["keeper", *map(str, words), "--json"]
        capsys.readouterr()
        code = build(called)(called, standalone_mode=False)
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is (code == 0)
        return told["data"] if code == 0 else told["error"]

    return run


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Committed:
    """A served committee."""

    folder: Path
    rpc: str
    place: Deployment
    committee: Committee
    keepers: list[KeeperProcess]

    def settings(self, **changes: Any) -> Settings:
        values = {
            "home": self.folder / "home",
            "rpc_url": self.rpc,
            "deployment": self.folder / "deployment.json",
            "committee": self.folder / "committee.json",
        }
        return Settings(**{**values, **changes})


def found(folder: Path, say: Say, ports: list[int]) -> None:
    """Cards, a draft, and everyone's signature, as the operators' guide says."""
    for index, port in enumerate(ports, start=1):
        say("init", folder / f"k{index}", "--index", index, "--endpoint", f"http://127.0.0.1:{port}")
    cards = [folder / f"k{index}" / "card.json" for index in (2, 3, 1)]
    say("found", *cards, "--threshold", 2, "--quorum", 3, "--days", 30, "-o", folder / "committee.json")
    for index in (3, 1, 2):
        say("sign", folder / f"k{index}", folder / "committee.json")


@pytest.fixture
def served(tmp_path: Path, say: Say) -> Iterator[Committed]:
    with ExitStack() as stack:
        embedded = EmbeddedChain(None)
        stack.callback(embedded.close)
        chain = Chain.embedded(embedded)
        place = deploy(chain, developer())
        place.save(tmp_path / "deployment.json")
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "note").write_text("so that it is a home")
        rpc = stack.enter_context(serving(embedded))
        for attempt in range(5):  # somebody else may take a port between its choice and its use
            folder = tmp_path / f"try{attempt}"
            folder.mkdir()
            ports = [free_port() for _ in range(3)]
            found(folder, say, ports)
            keepers = [
                KeeperProcess(
                    folder / f"k{index}",
                    rpc,
                    folder / "committee.json",
                    tmp_path / "deployment.json",
                    f"127.0.0.1:{port}",
                )
                for index, port in enumerate(ports, start=1)
            ]
            try:
                for keeper in keepers:
                    keeper.launch()
                for keeper in keepers:
                    stack.callback(keeper.end, signal.SIGKILL)
                for keeper in keepers:
                    keeper.ready()
                break
            except AssertionError:
                for keeper in keepers:
                    keeper.end(signal.SIGKILL)
                if attempt == 4:
                    raise
        (tmp_path / "committee.json").write_bytes((folder / "committee.json").read_bytes() + b"\n")
        yield Committed(tmp_path, rpc, place, Committee.load(tmp_path / "committee.json"), keepers)


def keepers_of(settings: Settings) -> dict[str, Finding]:
    return {finding.part: finding for finding in look_over(settings) if finding.part.startswith("keeper")}


@pytest.mark.slow
def test_a_client_uses_checks_and_audits_the_committee_that_it_accepts(served: Committed, say: Say) -> None:
    with World(served.settings()) as world:
        assert world.committee == served.committee
        assert not (world.home / "keepers").exists()
        owner = developer()
        message = RevokeAll(owner.address, 0)
        place = world.deployment.chain_id, world.deployment.consent_token
        signature = owner.sign_hash(message.digest(*place))
        patience = Patience(hedge=PATIENT, answer=PATIENT)
        done = revoke_everywhere(world.ports, world.committee, *place, message, signature, patience=patience)
        assert done.stored == (1, 2, 3)

    seen = keepers_of(served.settings())
    assert [one.mark for one in seen.values()] == [Mark.WORKS] * 4
    assert "1 entries in its log" in seen["keeper 2"].seen

    options = ("--committee", served.folder / "committee.json", "--rpc", served.rpc)
    options += ("--deployment", served.folder / "deployment.json")
    state, saved = served.folder / "state.json", served.folder / "log.cbor"
    told = say("audit", 1, *options, "--state", state, "--save", saved)
    assert (told["entries"], told["kinds"], told["flaws"]) == (1, {"revocation": 1}, [])
    assert say("audit", 1, *options, "--state", state)["head"] == told["head"]
    assert say("audit", saved, *options, "--keeper", 1, "--state", state)["head"] == told["head"]
    assert say("audit", served.keepers[0].folder, *options)["head"] == told["head"]
    assert say("audit", 2, *options, "--state", state)["type"] == "conflict"
    assert say("audit", saved, *options)["type"] == "invalid-input"
    assert say("audit", 4, *options)["type"] == "invalid-input"

    served.keepers[0].kill()
    assert say("audit", 1, *options)["type"] == "unavailable"
    down = keepers_of(served.settings())
    assert {part: one.mark for part, one in down.items() if one.is_failure} == {"keeper 1": Mark.FAILS}
    assert "does not answer" in down["keeper 1"].seen
    assert down["keeper 1"].advice

    (served.keepers[0].folder / "keeper.sqlite").unlink()  # a keeper that lost its memory, or would like to
    for name in ("keeper.sqlite-wal", "keeper.sqlite-shm"):
        (served.keepers[0].folder / name).unlink(missing_ok=True)
    served.keepers[0].restart()
    cut = say("audit", 1, *options, "--state", state)
    assert cut["type"] == "verification-failed"
    assert [flaw["type"] for flaw in cut["detail"]["flaws"]] == ["truncated"]


@pytest.mark.slow
def test_doctor_tells_an_impostor_a_foreign_committee_and_a_wrong_clock_apart(
    served: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace as replaced

    from allod import checkup

    first, second, third = served.committee.keepers
    crossed = replaced(first, endpoint=second.endpoint), replaced(second, endpoint=third.endpoint)
    finding = checkup._checked(
        "keeper", lambda: checkup._service(crossed[0], second.endpoint, served.committee, served.place)
    )
    assert finding.is_failure
    assert "is not the keeper" in finding.seen
    renewed = replaced(served.committee, end=served.committee.end + 1)
    finding = checkup._service(first, first.endpoint, renewed, served.place)
    assert "does not sit in this committee" in finding.seen
    finding = checkup._service(
        first, first.endpoint, served.committee, replaced(served.place, escrow=served.place.registry)
    )
    assert "another chain or contracts" in finding.seen
    now = checkup.time.time()
    monkeypatch.setattr(checkup.time, "time", lambda: now - 3600)
    finding = checkup._service(first, first.endpoint, served.committee, served.place)
    assert "clock" in finding.seen
    assert finding.is_failure


def test_a_missing_or_unsigned_document_is_no_committee(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", committee=tmp_path / "none.json")
    with World(settings) as world, pytest.raises(NotFound, match="no committee's document"):
        _ = world.ports
    (tmp_path / "none.json").write_text("{}")
    with World(settings) as world, pytest.raises(InvalidInput):
        _ = world.committee


# -- founding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, say: Say) -> Path:
    for index in (1, 2, 3):
        say("init", tmp_path / f"k{index}", "--index", index, "--endpoint", f"https://k{index}.example")
    return tmp_path


def test_keys_are_private_and_the_card_is_not(three: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (three / "k1").iterdir()}
    assert modes == {"signing.key": 0o600, "hpke-1.key": 0o600, "card.json": 0o644}
    card = Card.decode((three / "k1" / "card.json").read_bytes())
    assert card.member.address == KeeperKeys.open(three / "k1").address


def test_init_finishes_what_was_interrupted_and_never_replaces_a_key(three: Path, say: Say) -> None:
    signing = (three / "k1" / "signing.key").read_bytes()
    options = ("--index", 1, "--endpoint", "https://k1.example")
    assert say("init", three / "k1", *options)["type"] == "conflict"
    for name in ("card.json", "hpke-1.key"):
        (three / "k1" / name).unlink()
        assert say("init", three / "k1", *options)["epoch"] == 1
    assert say("init", three / "k1", *options, "--epoch", 2)["epoch"] == 2
    assert KeeperKeys.open(three / "k1").epochs == [1, 2]
    assert (three / "k1" / "signing.key").read_bytes() == signing
    assert say("init", three / "k9", "--index", 9, "--endpoint", "local:9")["type"] == "invalid-input"
    assert not (three / "k9").exists()


def draft(three: Path, say: Say, *words: object, name: str = "c.json") -> Any:
    cards = [three / f"k{index}" / "card.json" for index in (1, 2, 3)]
    return say("found", *cards, "-o", three / name, *(words or ("--threshold", 2, "--quorum", 3)))


def test_every_signature_counts_once_and_the_last_completes_the_document(three: Path, say: Say) -> None:
    assert draft(three, say)["missing"] == [1, 2, 3]
    assert say("sign", three / "k2", three / "c.json")["missing"] == [1, 3]
    assert say("sign", three / "k2", three / "c.json")["type"] == "conflict"
    with pytest.raises(AllodError):
        Committee.load(three / "c.json")
    say("sign", three / "k1", three / "c.json")
    assert say("sign", three / "k3", three / "c.json")["missing"] == []
    committee = Committee.load(three / "c.json")
    assert (committee.t, committee.q, committee.n, committee.epoch) == (2, 3, 3, 1)
    assert [one.endpoint for one in committee.keepers] == [f"https://k{index}.example" for index in (1, 2, 3)]
    assert say("sign", three / "k3", three / "c.json")["type"] == "conflict"


def test_cards_that_make_no_committee_are_refused(three: Path, say: Say) -> None:
    one, two = three / "k1" / "card.json", three / "k2" / "card.json"
    assert draft(three, say, "--threshold", 2, "--quorum", 1)["type"] == "invalid-input"
    assert draft(three, say, "--threshold", 4, "--quorum", 3)["type"] == "invalid-input"
    rest = ("--threshold", 1, "--quorum", 2, "-o", three / "x.json")
    assert say("found", one, one, *rest)["type"] == "invalid-input"
    assert say("found", two, *rest)["type"] == "invalid-input"
    say("init", three / "k2", "--index", 2, "--endpoint", "https://k2.example", "--epoch", 2)
    assert "different epochs" in say("found", one, two, *rest)["title"]
    assert not (three / "x.json").exists()
    (three / "there.json").write_text("mine")
    assert draft(three, say, name="there.json")["type"] == "conflict"
    assert (three / "there.json").read_text() == "mine"


def test_a_keeper_signs_only_what_says_of_it_what_its_card_says(three: Path) -> None:
    from dataclasses import replace

    keys = {index: KeeperKeys.open(three / f"k{index}") for index in (1, 2, 3)}
    cards = {index: Card.decode((three / f"k{index}" / "card.json").read_bytes()) for index in (1, 2, 3)}
    true = Draft.of([cards[3], cards[1], cards[2]], t=2, q=3, end=2**39)
    assert Draft.decode(true.encode()) == true
    moved = replace(cards[1], member=replace(cards[1].member, endpoint="https://mallory.example"))
    stolen = replace(cards[1], member=replace(cards[1].member, hpke=bytes(1216)))
    for wrong in (moved, stolen):
        with pytest.raises(Denied, match="another index, key, endpoint"):
            Draft.of([wrong, cards[2], cards[3]], t=2, q=3, end=2**39).signed(keys[1], cards[1])
    with pytest.raises(Denied, match="another HPKE key"):
        Draft.of([stolen, cards[2], cards[3]], t=2, q=3, end=2**39).signed(keys[1], stolen)
    with pytest.raises(Denied, match="does not name this keeper"):
        Draft.of([cards[1], cards[2]], t=2, q=2, end=2**39).signed(keys[3], cards[3])
    signed = true.signed(keys[1], cards[1])
    with pytest.raises(Conflict, match="has signed already"):
        signed.signed(keys[1], cards[1])


def test_a_draft_whose_signature_or_terms_were_changed_on_the_way_is_refused(three: Path) -> None:
    keys, card = KeeperKeys.open(three / "k1"), Card.decode((three / "k1" / "card.json").read_bytes())
    others = [Card.decode((three / f"k{index}" / "card.json").read_bytes()) for index in (2, 3)]
    signed = Draft.of([card, *others], t=2, q=3, end=2**39).signed(keys, card).encode()
    for old, new in (
        (b'"t":2', b'"t":1'),
        (b"https://k2", b"https://kx"),
        (b'"signatures":["0x', b'"signatures":["0xa'),
    ):
        assert old in signed
        with pytest.raises((Corrupted, InvalidInput)):
            Draft.decode(signed.replace(old, new, 1))
    for data in (
        b"",
        b"{}",
        b"[]",
        b'{"signatures":5}',
        b'{"signatures":[],"type":"allod/committee-draft"}',
        signed[:-9],
    ):
        with pytest.raises(InvalidInput):
            Draft.decode(data)
    for data in (b"", b"{}", card.encode()[:-2], card.encode().replace(b'"v":1', b'"v":2')):
        with pytest.raises(InvalidInput):
            Card.decode(data)
    assert Card.decode(card.encode() + b"\n") == card


# -- the operators' guide ---------------------------------------------------------------------------------------------


def guide() -> list[list[str]]:
    """Every command of docs/keepers.md, as words."""
    text = (ROOT / "docs" / "keepers.md").read_text("utf-8")
    blocks = text.split("```")[1::2]
    return [shlex.split(line)[1:] for block in blocks for line in block.strip().splitlines()]


@pytest.mark.slow
def test_the_operators_guide_does_what_it_says(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands in their order, in one folder; only the ports are other ones, and what serves runs in a process."""
    monkeypatch.chdir(tmp_path)
    commands = guide()
    assert [words[1] for words in commands] == ["init"] * 3 + ["found"] + ["sign"] * 3 + ["serve", "audit"]
    with ExitStack() as stack:
        embedded = EmbeddedChain(None)
        stack.callback(embedded.close)
        deploy(Chain.embedded(embedded), developer()).save(tmp_path / "deployment.json")
        rpc = stack.enter_context(serving(embedded))
        for words in commands:
            given = [rpc if word == "http://127.0.0.1:8545" else word for word in words]
            if given[1] != "serve":
                told = say(*given[1:])
                assert "status" not in told, told
                continue
            given[given.index("--listen") + 1] = "127.0.0.1:0"
            keeper = KeeperProcess(tmp_path / "k1", rpc, tmp_path / "committee.json", tmp_path / "deployment.json")
            files = ("k1", "committee.json", "deployment.json")
            given = [str(tmp_path / word) if word in files else word for word in given]
            keeper._words = [sys.executable, "-m", "allod", *given, "--json"]
            stack.callback(keeper.end, signal.SIGKILL)
            keeper.restart()
            assert keeper.port.call("service", b"")
    assert told["flaws"] == []
    assert (tmp_path / "k1.head").exists()
