"""How fast sealing and opening are, as ratios to the same cryptography in memory, and how little memory they take.

    python -m bench.seal [--json] [--mib 1024] [--memory-mib 4096]

One run measures everything beside everything: SHA-256 and AES-256-GCM of the same bytes in memory on two threads
(what no sealing can beat), sealing a file into the embedded store until it is durable, opening it again, and `age`
and `openssl dgst -sha256` where they are installed. Each figure is the best of a few rounds, and rounds alternate,
because machines are noisy. Rows are {name, value, unit, goal, ok}; goal and ok are null where nothing is promised.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figures import Figure, figure, tell
from core.ids import ObjectId, VaultId
from vault.carstore import CarStore
from vault.payload import SEGMENT, SealedObject, dek_commitment, open_payload, seal_into

ROOT = Path(__file__).parents[1]
VAULT, OBJECT = VaultId(bytes(32)), ObjectId(bytes(32))
DEK = bytes(range(32))
ROUNDS = 3


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds that `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


class InMemory:
    """SHA-256 and AES-256-GCM over `mib` segments that lie in memory, on two threads."""

    def __init__(self, mib: int) -> None:
        self._share = mib // 2
        self._aead = AESGCM(DEK)
        self._plain = [bytearray(os.urandom(SEGMENT)) for _ in range(2)]
        self._cipher = [bytearray(self._aead.encrypt(bytes(12), plain, None)) for plain in self._plain]

    def seal(self) -> None:
        """Encrypt, then hash what was encrypted."""
        self._on_both(self._seal)

    def open(self) -> None:
        """Hash, then decrypt what was hashed."""
        self._on_both(self._open)

    def _on_both(self, work: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(2)))

    def _seal(self, thread: int) -> None:
        out = bytearray(SEGMENT + 16)
        for i in range(self._share):
            self._aead.encrypt_into(i.to_bytes(12, "big"), self._plain[thread], None, out)
            hashlib.sha256(memoryview(out)[:SEGMENT]).digest()

    def _open(self, thread: int) -> None:
        out = bytearray(SEGMENT)
        cipher = self._cipher[thread]
        for _ in range(self._share):
            hashlib.sha256(memoryview(cipher)[:SEGMENT]).digest()
            self._aead.decrypt_into(bytes(12), cipher, None, out)


def measure(folder: Path, mib: int, memory_mib: int) -> list[Figure]:
    """All rows, from files of `mib` and, for memory, of `memory_mib` mebibytes inside `folder`."""
    source = folder / "source"
    with source.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(SEGMENT))
    memory = InMemory(mib)
    best: dict[str, float] = {}

    def note(name: str, taken: float) -> None:
        best[name] = min(taken, best.get(name, taken))

    for _ in range(ROUNDS):
        note("SHA-256 + AES-GCM in memory", seconds(memory.seal))
        note("seal into the store", _seal_seconds(folder, source, note))
        note("SHA-256 + AES-GCM opening in memory", seconds(memory.open))
        for name, command in _tools(folder, source).items():
            note(name, seconds(lambda command=command: subprocess.run(command, check=True, capture_output=True)))  # type: ignore[misc]
    rows = [figure(name, mib / taken, "MiB/s") for name, taken in best.items()]
    sealing = best["SHA-256 + AES-GCM in memory"] / best["seal into the store"]
    opening = best["SHA-256 + AES-GCM opening in memory"] / best["open from the store"]
    rows.append(figure("seal against memory", sealing, "ratio", "≥ 0.5", sealing >= 0.5))
    rows.append(figure("open against memory", opening, "ratio", "≥ 0.5", opening >= 0.5))
    source.unlink()
    peak = _peak_memory(folder, memory_mib)
    rows.append(figure(f"memory above import, sealing {memory_mib} MiB", peak, "MiB", "≤ 64", peak <= 64))
    return rows


def _seal_seconds(folder: Path, source: Path, note: Callable[[str, float], None]) -> float:
    sealed: list[SealedObject] = []
    with CarStore(folder / "store") as store:

        def seal() -> None:
            sealed.append(seal_into(source, DEK, VAULT, OBJECT, store))
            store.flush()

        taken = seconds(seal)
        (thing,) = sealed
        commit = dek_commitment(DEK, VAULT, OBJECT)

        def open_all() -> None:
            for _ in open_payload(store, thing.payload, thing.size, DEK, commit, VAULT, OBJECT):
                pass

        note("open from the store, off the disk", seconds(open_all))  # sealing leaves little in the page cache
        note("open from the store", seconds(open_all))
    shutil.rmtree(folder / "store")
    return taken


def _tools(folder: Path, source: Path) -> dict[str, list[str]]:
    """Well-known programs over the same file, those that are installed."""
    tools: dict[str, list[str]] = {}
    if openssl := shutil.which("openssl"):
        tools["openssl dgst -sha256"] = [openssl, "dgst", "-sha256", str(source)]
    age, keygen = shutil.which("age"), shutil.which("age-keygen")
    if age and keygen:
        identity, sealed = folder / "identity", folder / "sealed.age"
        if not identity.exists():
            subprocess.run([keygen, "-o", str(identity)], check=True, capture_output=True)
        recipient = subprocess.run([keygen, "-y", str(identity)], check=True, capture_output=True, text=True).stdout
        tools["age encrypt"] = [age, "-r", recipient.strip(), "-o", str(sealed), str(source)]
        tools["age decrypt"] = [age, "-d", "-i", str(identity), "-o", os.devnull, str(sealed)]
    return tools


_SEAL_ALONE = """
import sys
from pathlib import Path
from bench.seal import DEK, OBJECT, VAULT, CarStore, seal_into
def status(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field))
before = status("VmRSS")  # not ru_maxrss, which a child inherits from its parent
with CarStore(Path(sys.argv[2])) as store:
    seal_into(Path(sys.argv[1]), DEK, VAULT, OBJECT, store)
    store.flush()
print(status("VmHWM") - before)
"""


def _peak_memory(folder: Path, mib: int) -> float:
    """MiB by which a fresh process grows beyond what its imports took, sealing a file of `mib`."""
    source = folder / "large"
    with source.open("wb") as file:
        file.truncate(mib << 20)  # holes are read as zeros; what is sealed from them is as random as ever
    command = [sys.executable, "-c", _SEAL_ALONE, str(source), str(folder / "large-store")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(done.stdout) / 1024


def main() -> int:
    """Measure and print; the exit code is 0 whether or not the goals were met, for a noisy machine is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench.seal", description="Sealing and opening against memory.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file for the speeds")
    parser.add_argument("--memory-mib", type=int, default=4096, help="size of the file for the peak of memory")
    options = parser.parse_args()
    (ROOT / "bench" / "out").mkdir(exist_ok=True)  # on the repository's disk: /tmp may be memory
    with tempfile.TemporaryDirectory(dir=ROOT / "bench" / "out", prefix="seal-") as folder:
        rows = measure(Path(folder), options.mib, options.memory_mib)
    tell("seal", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
