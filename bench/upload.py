"""How fast a vault goes up over HTTP, and how little memory that takes the server.

    python -m bench.upload [--json] [--gib 10]

A client in this process sends one object of that size, made up as it goes (ciphertext is random anyhow), to an
`allod serve` of its own on loopback, in parts of 16 MiB, and commits it. Beside it stands what the same blocks cost put
into a store of the same kind without HTTP, a flush for each part, once before and once after. The memory is the highest
that the server's process ever had resident, its development chain included. Client and server share the machine.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allod.client import Client, needed, parts, send_missing
from allod.vaults import prove
from bench.figures import Figure, figure, tell
from bench.seal import ROOT, VAULT, seconds
from consent.chain.account import Account
from core.ids import ObjectId
from vault.blocks import MemoryBlocks
from vault.car import Car
from vault.carstore import CarStore
from vault.cid import DAG_CBOR, RAW, Cid
from vault.manifest import ObjectManifest, VaultHead, encode_pages
from vault.rootkey import RootKey
from vault.unixfs import CHUNK, FileBuilder

GOAL = 512  # MiB resident
DIRECT = 512  # MiB put into a store without HTTP, for comparison


class MadeUp(MemoryBlocks):
    """A vault with one object of `mib` mebibytes, whose leaves are made again whenever they are asked for."""

    def __init__(self, mib: int) -> None:
        super().__init__()
        self._random = os.urandom(CHUNK - 8)
        self._leaves: dict[Cid, int] = {}
        builder = FileBuilder(self.put)
        for number in range(mib):
            cid = Cid.of(RAW, self._leaf(number))
            self._leaves[cid] = number
            builder.add(cid, CHUNK)
        payload, size = builder.finish()
        root = RootKey.generate()
        manifest = ObjectManifest(VAULT, ObjectId(bytes(32)), payload, size, bytes(32), bytes(60), bytes(300))
        page = self.add(DAG_CBOR, encode_pages([self.add(DAG_CBOR, manifest.encode())])[0])
        self.key = root.signing_key()
        self.head = self.add(DAG_CBOR, VaultHead(VAULT, root.manifest_pk(), 1, (page,), (), ()).sign(self.key).encode())

    def _leaf(self, number: int) -> bytes:
        return number.to_bytes(8, "big") + self._random

    def get(self, cid: Cid) -> bytes:
        """A leaf made anew, or a document."""
        number = self._leaves.get(cid)
        return super().get(cid) if number is None else self._leaf(number)

    def missing(self, cids: object) -> list[Cid]:
        """Everything is here."""
        return []


@contextmanager
def server(home: Path) -> Iterator[tuple[str, int]]:
    """An `allod serve` of its own: its URL and its process."""
    command = [sys.executable, "-m", "allod", "serve", "--port", "0", "--json"]
    environment = {**os.environ, "ALLOD_CONFIG": os.devnull, "ALLOD_HOME": str(home)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            said = b""
            for line in process.stdout:
                said += line
                if line == b"}\n":
                    break
            yield json.loads(said)["data"]["url"], process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def peak_mib(pid: int) -> float:
    """The most that a process has had resident."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(folder: Path, mib: int) -> list[Figure]:
    """All rows, for an object of `mib` mebibytes, in `folder`."""
    vault = MadeUp(mib)
    some = list(needed(vault, vault.head))[: min(mib, DIRECT)]
    before_it = _direct(folder / "before", vault, some)
    with server(folder / "home") as (url, pid), Client(url, Account(b"\x01" * 32)) as client:
        client.sign_in()
        before = peak_mib(pid)
        wanted = needed(vault, vault.head)
        sending = seconds(lambda: send_missing(client, vault, wanted))
        proof = prove(vault.key, client.account, VAULT)
        committing = seconds(lambda: client.commit(vault.head, None, proof))
        again = seconds(lambda: send_missing(client, vault, wanted))
        peak = peak_mib(pid)
    direct = (before_it + _direct(folder / "after", vault, some)) / 2 / len(some) * mib
    return [
        figure(f"upload of {mib} MiB over HTTP", mib / sending, "MiB/s"),
        figure("the same into a store without HTTP", mib / direct, "MiB/s"),
        figure("upload against that", direct / sending, "ratio"),
        figure("commit of it", committing, "s"),
        figure("asking for all of it again", again, "s"),
        figure("server resident before", before, "MiB"),
        figure("server resident at most", peak, "MiB", f"≤ {GOAL}", peak <= GOAL),
    ]


def _direct(folder: Path, vault: MadeUp, cids: list[Cid]) -> float:
    """Seconds for putting these blocks into a new store without HTTP, part by part."""
    with CarStore(folder) as store:

        def put() -> None:
            for part, _ in parts(vault, cids):
                store.put_many(Car.read(io.BytesIO(part)).blocks)
                store.flush()

        return seconds(put)


def main() -> int:
    """Measure and print; the exit code is 0 whether or not the goal was met, for a noisy machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench.upload", description="A vault going up over HTTP.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--gib", type=float, default=10, help="size of the object")
    options = parser.parse_args()
    (ROOT / "bench" / "out").mkdir(exist_ok=True)  # on the repository's disk: /tmp may be memory
    with tempfile.TemporaryDirectory(dir=ROOT / "bench" / "out", prefix="upload-") as folder:
        rows = measure(Path(folder), round(options.gib * 1024))
    tell("upload", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
