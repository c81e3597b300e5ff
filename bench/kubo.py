"""How fast a vault on kubo is, as ratios to kubo's own commands over the same bytes on the same node.

    python -m bench.kubo [--json] [--mib 512]

One run, alternating: `ipfs add` of a file with the parameters of our profile, against sealing that file and sending it
until it is pinned; and `ipfs cat` of what was sealed, against fetching, verifying and opening it. A speed is the best
of a few rounds. A ratio is the median of the rounds' ratios, and the two change places each round. Memory that a
virtual machine must get from its host costs up to a second for 512 MiB, whoever asks for it: before each clock starts
more than either needs is used and freed, and what was written is on the disk. The node is offline, new, and on the
repository's disk; its gateway's port is told to us, for tests let the system choose it and the configuration does not
say which it became.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from allod.nodes import KuboNode, find_program
from bench.figures import Figure, figure, tell
from bench.seal import DEK, OBJECT, ROOT, VAULT, seconds
from core.errors import NotFound
from vault.kubostore import KuboStore
from vault.payload import SealedObject, dek_commitment, open_payload, seal_into

ROUNDS = 6
ADD = [
    "add", "--quieter", "--cid-version=1", "--raw-leaves", "--chunker=size-1048576", "--max-file-links=1024",
    "--pin=true", "--fast-provide-root=false",
]  # fmt: skip
COMMIT = dek_commitment(DEK, VAULT, OBJECT)


def measure(folder: Path, mib: int) -> list[Figure]:
    """All rows, from a new file of `mib` mebibytes for each round inside `folder`."""
    taken: dict[str, list[float]] = {}
    sealed: list[SealedObject] = []

    def compare(number: int, *sides: tuple[str, Callable[[], object]]) -> None:
        for name, run in sides[:: -1 if number % 2 else 1]:
            _have_memory(folder / "memory", mib)
            os.sync()
            taken.setdefault(name, []).append(seconds(run))

    with KuboNode(folder / "repo") as node, KuboStore(node.api, lock=folder / "LOCK", gateway=node.gateway) as store:
        source = folder / "source"
        for number in range(ROUNDS):
            with source.open("wb") as file:
                for _ in range(mib):
                    file.write(os.urandom(1 << 20))
            compare(
                number,
                ("ipfs add", lambda: _ipfs(node, *ADD, str(source))),
                ("seal and send to kubo", lambda: sealed.append(_send(store, source))),
            )
            compare(
                number,
                ("ipfs cat", lambda: _ipfs(node, "cat", str(sealed[-1].payload))),
                ("fetch, verify and open", lambda: _open(store, sealed[-1])),
            )
    rows = [figure(f"{name}, {mib} MiB", mib / min(times), "MiB/s") for name, times in taken.items()]

    def ratio(ours: str, theirs: str) -> float:
        return median(mine / other for mine, other in zip(taken[ours], taken[theirs], strict=True))

    sending, opening = ratio("seal and send to kubo", "ipfs add"), ratio("fetch, verify and open", "ipfs cat")
    rows.append(figure("seal and send against ipfs add", sending, "ratio", "≤ 1.1", sending <= 1.1))
    rows.append(figure("fetch and open against ipfs cat", opening, "ratio", "≤ 1.3", opening <= 1.3))
    return rows


def _have_memory(file: Path, mib: int) -> None:
    """Let the system have memory for files of `mib` mebibytes, and half as much again for the rest."""
    with file.open("wb") as written:
        for _ in range(mib * 3 // 2):
            written.write(bytes(1 << 20))
    file.unlink()


def _send(store: KuboStore, source: Path) -> SealedObject:
    sealed = seal_into(source, DEK, VAULT, OBJECT, store)
    store.flush()
    return sealed


def _open(store: KuboStore, thing: SealedObject) -> None:
    for _ in open_payload(store, thing.payload, thing.size, DEK, COMMIT, VAULT, OBJECT):
        pass


def _ipfs(node: KuboNode, *words: str) -> None:
    """The command-line program, which talks to the running node."""
    place = {**os.environ, "IPFS_PATH": str(node.folder)}
    with open(os.devnull, "wb") as nowhere:
        subprocess.run([find_program("ipfs"), *words], env=place, stdout=nowhere, stderr=nowhere, check=True)


def main() -> int:
    """Measure and print; nothing is measured, and the exit code is 0, where kubo is not installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.kubo", description="A vault on kubo against kubo itself.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--mib", type=int, default=512, help="size of the files")
    options = parser.parse_args()
    try:
        find_program("ipfs")
    except NotFound as missing:
        tell("kubo", [figure(f"kubo: not measured. {missing}", 0, "")], as_json=options.json)
        return 0
    (ROOT / "bench" / "out").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "bench" / "out", prefix="kubo-") as folder:
        rows = measure(Path(folder), options.mib)
    tell("kubo", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
