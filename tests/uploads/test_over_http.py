"""A vault goes up to a running `allod serve`, which may die on the way, and comes back by its words alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from allod.client import MEDIA_TYPE, Client, needed, parts, push, send_missing
from allod.vaults import prove
from bench.upload import GOAL, ROOT, VAULT, MadeUp, peak_mib, server
from consent.chain.account import Account
from core.errors import Conflict, NotFound, Unavailable
from core.ids import VaultId
from vault.blocks import MemoryBlocks
from vault.carstore import CarStore
from vault.rootkey import RootKey
from vault.vault import Vault

MIB = 1 << 20

pytestmark = pytest.mark.timeout(900)  # a gibibyte and several servers, on whatever machine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the servers of this file, so that its contracts are deployed once."""
    return tmp_path_factory.mktemp("served") / "home"


@contextmanager
def signed_in(url: str, root: RootKey) -> Iterator[Client]:
    with Client(url, Account(root.evm_key())) as client:
        client.sign_in()
        yield client


@contextmanager
def half_sent(client: Client, part: bytes) -> Iterator[None]:
    """A request that stops in the middle of its body and stays open."""
    http, url = client.http, urlsplit(client.url)
    headers = {**http.headers, "host": url.netloc, "content-type": MEDIA_TYPE, "content-length": str(len(part))}
    headers["cookie"] = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(f"POST /v1/blocks HTTP/1.1\r\n{head}\r\n".encode() + part[: len(part) // 2])
        yield


class Dying:
    """A client whose server is killed while its part number `at` is on the way."""

    def __init__(self, client: Client, pid: int, at: int) -> None:
        self.account = client.account
        self.missing, self.commit = client.missing, client.commit
        self._client, self._pid, self._left = client, pid, at
        self._guard = threading.Lock()

    def send(self, part: bytes) -> None:
        with self._guard:
            self._left -= 1
            now = self._left == 0
        if not now:
            self._client.send(part)
            return
        with half_sent(self._client, part):
            os.kill(self._pid, signal.SIGKILL)
            raise Unavailable("cut")


def test_a_server_killed_in_the_middle_of_a_part_loses_nothing_it_answered_for_and_the_words_bring_all_back(
    home: Path, tmp_path: Path
) -> None:
    root, blocks, data = RootKey.generate(), MemoryBlocks(), os.urandom(40 * MIB)
    vault = Vault(root, VaultId(os.urandom(32)), blocks)
    entry = vault.add_bytes("film.bin", data)
    whole = len(needed(blocks, vault.head_cid))  # type: ignore[arg-type]
    with server(home) as (url, pid), signed_in(url, root) as client, pytest.raises(Unavailable):
        push(Dying(client, pid, 3), vault, blocks, None)
    with server(home) as (url, _), signed_in(url, root) as client:
        with pytest.raises(NotFound):
            client.ask("GET", "/v1/vaults/mine")
        assert client.newest() is None
        assert 0 < push(client, vault, blocks, None) < whole
        assert push(client, vault, blocks, None) == 0
        kept = client.ask("GET", "/v1/vaults/mine")
        assert (kept["head"], kept["blocks"]) == (str(vault.head_cid), whole)
        vault.add_bytes("more.txt", b"more")
        with pytest.raises(Conflict) as caught:
            push(client, vault, blocks, None)
        assert caught.value.detail["head"] == kept["head"]
        push(client, vault, blocks, client.newest())
        _restore_by_command(home, tmp_path, root)  # beside the running server
    with CarStore(home / "blocks") as store:
        again = Vault.restore(root.words(), store)
        assert b"".join(again.open(entry.object_id)) == data


def _restore_by_command(home: Path, folder: Path, root: RootKey) -> None:
    (folder / "words").write_text(root.words())
    (folder / "passphrase").write_text("three small boats\n")
    words = ["--words-file", str(folder / "words"), "--passphrase-file", str(folder / "passphrase")]
    command = [sys.executable, "-m", "allod", "vault", "restore", "--as", "ada", "--json", *words]
    environment = {**os.environ, "ALLOD_HOME": str(home)}
    done = subprocess.run(command, check=False, capture_output=True, env=environment, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["data"]["objects"] == 2


@pytest.mark.slow
def test_a_gibibyte_goes_up_within_512_mib_of_memory_beside_senders_that_hold_their_parts_back(home: Path) -> None:
    vault = MadeUp(1024)
    wanted = needed(vault, vault.head)
    part = next(parts(vault, wanted))[0]
    with server(home) as (url, pid), ExitStack() as held:
        for _ in range(3):
            client = held.enter_context(signed_in(url, RootKey.generate()))
            for _ in range(4):
                held.enter_context(half_sent(client, part))
        with signed_in(url, RootKey.generate()) as client:
            assert send_missing(client, vault, wanted) == len(wanted)
            client.commit(vault.head, None, prove(vault.key, client.account, VAULT))
            assert client.ask("GET", "/v1/vaults/mine")["bytes"] > 1024 * MIB
        assert peak_mib(pid) <= GOAL
