"""What one keeper does: shares released over HTTP by one keeper process on one core, with anvil behind it.

    python -m bench.keeper [--json] [--seconds 5]

A job over one dataset stands open on a fresh anvil chain; the keeper is `allod keeper serve` in a process of its own,
pinned to one core, with the log on the repository's disk. The client asks over a few connections from this process.
Requests are made beforehand: what is measured is the keeper. Its CPU time per share is told beside the rate, for a busy
machine gives the keeper only part of its core.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from allod.nodes import AnvilNode, find_program
from bench.figures import Figure, figure, tell
from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, deploy, faucet
from consent.chain.embedded import developer
from consent.committee import Committee
from consent.grant import Consent
from consent.keeper.founding import found_committee
from consent.keeper.keys import KeeperKeys
from consent.keeper.remote import HttpPort
from consent.keeper.request import ReleaseRequest, SharedObject, release_digest
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply, sign
from consent.order import Order
from consent.purposes import purpose
from consent.recipe import Lora, Recipe
from consent.terms import Counts, Terms, quote
from consent.tree import Leaf, SumTree
from consent.typed import keccak, permit_digest
from core.errors import NotFound
from core.ids import NOBODY, Address, Asset, ObjectId, VaultId
from vault.cid import DAG_CBOR, RAW, Cid
from vault.manifest import DatasetHeader, ObjectManifest, dataset_tree
from vault.sharing import Scope, hpke_generate, share_objects

ROOT = Path(__file__).parents[1]
DATASET = 1024  # objects, so that proofs have a usual length
CONNECTIONS = 4
DAY = 86400


@dataclass
class Job:
    """An open job over one dataset, and how to ask for some of its objects."""

    chain: Chain
    place: Deployment
    committee: Committee
    trainer: Account
    runner: Account
    order: Order
    tree: SumTree
    request: ReleaseRequest

    def ask_for(self, count: int, first: int = 0) -> bytes:
        """A signed request for `count` of the objects from number `first` on, at keeper 1."""
        objects = self.request.objects[first : first + count]
        part = ReleaseRequest(**{**vars(self.request), "objects": objects})
        body = part.body(1)
        consent_id = part.consent.id(self.place.chain_id, self.place.consent_token, self.order.payer)
        return sign(body, self.runner.sign_hash(release_digest(self.order, consent_id, 1, body)))


def open_job(folder: Path, url: str) -> Job:
    """Contracts, three keepers' keys, an owner's dataset, its consent on chain, and a job that is open."""
    chain = Chain.http(url)
    place = deploy(chain, developer())
    place.save(folder / "deployment.json")
    owner, trainer, runner = (Account(keccak(name)) for name in (b"owner", b"trainer", b"runner"))
    contracts = place.contracts(chain)
    faucet(chain, developer(), contracts.currency, trainer.address, 10**18, 10**9)
    keys = [KeeperKeys.create(folder / str(index)) for index in (1, 2, 3)]
    committee = found_committee(keys, 2, 3, 1, int(time.time()) + 30 * DAY)
    (folder / "committee.json").write_bytes(committee.encode())

    signing, vault_id = Ed25519PrivateKey.generate(), VaultId(keccak(b"vault"))
    ids = sorted(ObjectId(keccak(b"object%d" % number)) for number in range(DATASET))
    manifests = [
        ObjectManifest(vault_id, one, Cid.of(RAW, one), 4000, keccak(one), bytes(60), bytes(120)).encode()
        for one in ids
    ]
    leaves = dataset_tree(manifests)
    public = signing.public_key().public_bytes_raw()
    header = DatasetHeader(vault_id, public, leaves.root, DATASET, DATASET, Cid.of(DAG_CBOR, b"card")).encode()
    asset = Asset(keccak(owner.address + sha256(header).digest()))
    terms = Terms.write(
        purposes=["service-provision"], payee=owner.address, committee=committee.hash,
        expiry=int(time.time()) + 10 * DAY, max_epochs=4, flat=1000, per_record_epoch=1,
    )  # fmt: skip
    scope = Scope(place.chain_id, place.consent_token, owner.address, asset, vault_id)
    deks = {one: keccak(b"dek" + one) for one in ids}
    table = share_objects(scope, deks, committee.id, committee.t, committee.hpke_keys, signing, 1)
    consent = Consent(
        owner=owner.address, grantee=trainer.address, asset=asset, terms=terms.hash,
        purpose=purpose("service-provision").hash, runner=NOBODY, escrow=place.escrow, not_before=int(time.time()) - 60,
        expiry=int(time.time()) + 9 * DAY, max_uses=0, nonce=1,
    )  # fmt: skip
    digest = consent.digest(place.chain_id, place.consent_token)
    contracts.consent_token.transact(developer(), "redeem", [consent.as_tuple()], [owner.sign_hash(digest)])

    recipe = Recipe(
        base_name="bench", base_hash=bytes(32), lora=Lora(8, 16, 0, ("q_proj",)), epochs=2, seed=1,
        purpose=consent.purpose, learning_rate_nano=10**6, warmup_steps=1, batch_rows=8, sequence=256,
    )  # fmt: skip
    consent_id = consent.id(place.chain_id, place.consent_token, trainer.address)
    due = quote(terms, recipe, Counts(DATASET, DATASET))
    tree = SumTree([Leaf(consent_id, owner.address, due)])
    until = chain.block().timestamp + 3600
    money = due * place.unit
    domain = contracts.currency.read("DOMAIN_SEPARATOR")
    permit = trainer.sign_hash(permit_digest(domain, trainer.address, place.escrow, money, 0, until))
    contracts.escrow.transact(trainer, "deposit", money, until, permit[64], permit[:32], permit[32:64])
    job_public = hpke_generate()[1]
    order = Order(
        chain_id=place.chain_id, escrow=Address(place.escrow), payer=trainer.address, lane=0, opened=0,
        start=chain.block().timestamp + DAY, runner=runner.address, recipe_hash=recipe.hash, job_pk=job_public, fee=0,
        q=committee.q, keepers=committee.addresses, root=tree.root,
    )  # fmt: skip
    receipt = contracts.escrow.transact(
        trainer, "open", 0, order.start, order.runner, order.spec, order.root, [], [0, 0, 0]
    )
    order = order.opened_at(chain.block(receipt.block_hash).timestamp)
    for _ in range(40):
        chain.mine()  # anvil's safe block is 32 blocks behind
    objects = []
    for index, one in enumerate(ids):
        row, row_index, row_proof = table.row(one)
        objects.append(
            SharedObject(manifests[index], index, tuple(leaves.proof(index)), row, row_index, tuple(row_proof))
        )
    request = ReleaseRequest(
        committee.id,
        order,
        consent,
        terms.encode(),
        recipe.encode(),
        header,
        table.head_bytes,
        table.sig,
        tuple(objects),
    )
    return Job(chain, place, committee, trainer, runner, order, tree, request)


@contextmanager
def keeper(folder: Path, rpc: str) -> Iterator[tuple[str, int]]:
    """`allod keeper serve` for keeper 1, on one core; its URL and process id."""
    words = [
        sys.executable, "-m", "allod", "keeper", "serve", str(folder / "1"), "--rpc", rpc,
        "--committee", str(folder / "committee.json"), "--deployment", str(folder / "deployment.json"), "--json",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, cwd=ROOT)
    core = sorted(os.sched_getaffinity(0))[-1]
    try:
        assert child.stdout is not None
        text = b""
        while line := child.stdout.readline():
            text += line
            if line == b"}\n":
                break
        for thread in os.listdir(f"/proc/{child.pid}/task"):
            os.sched_setaffinity(int(thread), {core})
        yield json.loads(text)["data"]["url"], child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
        child.stdout.close()


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    url: str, pid: int, requests: list[bytes], seconds: float, connections: int
) -> tuple[list[float], float, float]:
    """Ask over and over: each request's seconds, all of it together, and the keeper's CPU seconds."""
    times: list[float] = []
    port = HttpPort(url)
    end = time.perf_counter() + seconds

    def work() -> None:
        number = 0
        while time.perf_counter() < end:
            start = time.perf_counter()
            read_reply(port.call("release", requests[number % len(requests)]), ("shares", "receipt"), "The reply")
            times.append(time.perf_counter() - start)
            number += 1

    port.call("release", requests[0])
    before, start = cpu_seconds(pid), time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken, used = time.perf_counter() - start, cpu_seconds(pid) - before
    port.close()
    return times, taken, used


def main() -> int:
    """Measure and print; the exit code is 0 whether or not the goals were met."""
    parser = argparse.ArgumentParser(prog="python -m bench.keeper", description="Shares released by one keeper.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    options = parser.parse_args()
    rows: list[Figure] = []
    try:
        find_program("anvil")
    except NotFound as error:
        print(f"Keepers are not measured. {error}", file=sys.stderr)
        tell("keeper", rows, as_json=options.json)
        return 0
    (ROOT / "bench" / "out").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "bench" / "out", prefix="keeper-") as name:
        folder = Path(name)
        with AnvilNode(folder / "anvil") as anvil:
            anvil.fund(developer().address, 10**9 * 10**18)
            job = open_job(folder, anvil.url)
            with keeper(folder, anvil.url) as (url, pid):
                port = HttpPort(url)
                read_reply(port.call("tree", write_deposit(job.order, job.tree)), ("job",), "The reply")
                port.close()
                for count, goal in ((64, 1000), (1, 40)):
                    requests = [job.ask_for(count, first) for first in range(0, DATASET, max(count, 32))]
                    times, taken, used = measure(url, pid, requests, options.seconds, CONNECTIONS)
                    rate = len(times) / taken
                    what = f"keeper, requests of {count}"
                    unit, value = ("shares/s", rate * count) if count > 1 else ("requests/s", rate)
                    rows.append(figure(what, value, unit, f"≥ {goal}", value >= goal))
                    spread = statistics.quantiles(times, n=100)
                    rows.append(figure(f"{what}, p50", 1000 * spread[49], "ms"))
                    rows.append(figure(f"{what}, p99", 1000 * spread[98], "ms"))
                    rows.append(figure(f"{what}, CPU", 1e6 * used / len(times) / count, "µs/share"))
            job.chain.close()
    tell("keeper", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
