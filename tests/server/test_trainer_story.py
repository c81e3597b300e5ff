"""A trainer's whole story over HTTP alone, with `examples/trainer.py`: server and runner are two processes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from allod.jobs import own_trust
from allod.server.bounds import Bounds
from allod.server.serving import serving
from allod.world import World
from consent.chain.client import Chain
from consent.chain.embedded import EmbeddedChain
from core.ids import Address
from core.settings import Settings
from examples import trainer as script
from finetune.verify import verify
from finetune.workspace import State, Workspace, workspaces
from tests.server.ordering import RECIPE, tiny
from tests.server.people import PLENTY
from tests.worker.forks import ForkServer
from tests.worker.homes import DEPOSIT, EPOCHS, FEE, LEAF, Home, make_home
from tests.worker.outside import Outside, Prepared
from vault.rootkey import RootKey

pytestmark = [pytest.mark.needs_trainer, pytest.mark.slow, pytest.mark.timeout(900)]

NUMBERS = {name: RECIPE[name] for name in RECIPE if name not in ("base", "purpose", "epochs")}


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with ForkServer(tmp_path_factory.mktemp("forks")) as server:
        yield server


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prepared, Home]:
    """A home in which ada has an open offer, and dario signed for tess and did not grant."""
    folder, chain = tmp_path_factory.mktemp("home") / "home", EmbeddedChain(None)
    with World(Settings(home=folder), chain=Chain.embedded(chain)) as world:
        home = make_home(world, tiny(tmp_path_factory.mktemp("tiny")), granted=(), offering=("ada",))
        world.ports  # noqa: B018 - the keepers take office
    shutil.copytree(home.base, folder / "bases" / "tiny")
    return Prepared(folder, chain), home


@dataclass
class Site:
    """A running server, a runner of its own process, and where the script writes."""

    url: str
    outside: Outside
    home: Home
    folder: Path
    worker: Callable[[], Any]

    def script(self, *more: str) -> int:
        words = self.folder / "words"
        words.write_text(RootKey(b"\x03" * 32).words())
        known = ["--server", self.url, "--rpc", self.outside.rpc, "--words", str(words), "--find", "ada"]
        recipe = ["--base", "tiny", "--epochs", str(EPOCHS), "--recipe", json.dumps(NUMBERS), "--fee", str(FEE)]
        return script.main([*known, *recipe, "--out", str(self.folder / "bundle.tar"), *more])

    @property
    def job(self) -> Workspace:
        (job,) = workspaces(self.outside.home / "jobs")
        return job

    def locked(self) -> int:
        return self.outside.locked(Address(self.home.payer.address))


@pytest.fixture
def site(prepared: tuple[Prepared, Home], forks: ForkServer, tmp_path: Path) -> Iterator[Site]:
    bounds = Bounds(client=PLENTY, sign_in=PLENTY, account=PLENTY, stream_look=0.05)
    running: list[Any] = []
    with prepared[0].copy(tmp_path / "town") as outside:
        settings = Settings(home=outside.home, rpc_url=outside.rpc)

        def worker(**more: Any) -> Any:
            spec = {
                "home": str(outside.home),
                "rpc": outside.rpc,
                "keepers": outside.keepers,
                "forks": forks.path,
                "folder": str(tmp_path / "town"),
                "beside": True,
            }
            running.append(forks.worker({**spec, **more}))
            return running[-1]

        with serving(settings, "127.0.0.1", 0, bounds=bounds) as server:
            yield Site(server.url, outside, prepared[1], tmp_path, worker)
        for one in running:
            if one.is_alive:
                one.send(signal.SIGTERM)
            one.wait(60)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_from_sign_in_to_a_verified_bundle(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.worker()
    assert site.script() == 0
    lines = told(capsys)
    steps = [line["step"] for line in lines if line["step"] != "event"]
    assert steps == ["signed in", "found", "took the offer", "quoted", "started", "done", "downloaded"]
    events = [line for line in lines if line["step"] == "event"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    states = [event["data"]["state"] for event in events if event["kind"] == "state"]
    assert (states[-1], events[-1]["kind"]) == ("done", "published")
    assert site.job.state is State.DONE
    assert site.locked() == LEAF + FEE
    assert site.outside.in_escrow() == DEPOSIT

    packed = (site.folder / "bundle.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert all(member.isfile() and member.mtime == 0 and member.uid == 0 for member in tar)
        tar.extractall(site.folder, filter="data")
    (bundle,) = site.folder.glob("allod-*")
    done = next(line for line in lines if line["step"] == "done")
    weights = (bundle / "adapter" / "adapter_model.safetensors").read_bytes()
    assert done["adapter"] == "0x" + hashlib.sha256(weights).hexdigest()
    with site.outside.world() as world:
        report = verify(bundle, site.outside.chain, own_trust(world), world.blocks)
    assert report.holds
    assert report.vouched

    job_id = site.job.facts["job_id"]
    with httpx.Client(base_url=site.url) as anybody:
        assert anybody.get(f"/v1/jobs/{job_id}/bundle").content == packed
        found = anybody.get(f"/v1/verifications/{job_id}").json()
        assert found["verified"]
        assert found["vouched"]
        assert found == anybody.get(f"/v1/verifications/{done['adapter']}").json()
        assert anybody.get("/v1/verifications/0x" + "00" * 32).status_code == 404
        published = site.outside.home / "bundles" / site.job.folder.name / "adapter" / "adapter_model.safetensors"
        published.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        found = anybody.get(f"/v1/verifications/{job_id}").json()
        broken = [one["slug"] for one in found["sentences"] if not one["holds"]]
        assert (found["verified"], broken) == (False, ["adapter"])


def test_a_runner_that_is_killed_with_an_order_in_hand_goes_on(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    worker = site.worker(pause=["send step", 1])
    status: list[int] = []
    story = threading.Thread(target=lambda: status.append(site.script()))
    story.start()
    with _deadline() as left:
        while not (site.folder / "town" / "paused").exists():
            assert left(), "the job never trained"
    worker.send(signal.SIGKILL)
    worker.wait(60)
    site.worker()
    story.join(300)
    assert status == [0]
    events = [line for line in told(capsys) if line["step"] == "event"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert len([event for event in events if event["kind"] == "queued"]) == 1
    assert site.locked() == LEAF + FEE


@contextmanager
def _deadline() -> Iterator[Callable[[], bool]]:
    """Asks whether there is time left, and waits a moment."""
    import time

    end = time.monotonic() + 120

    def left() -> bool:
        time.sleep(0.02)
        return time.monotonic() < end

    yield left
