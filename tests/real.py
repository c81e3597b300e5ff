"""Real nodes for tests: a test that asks for one is skipped where its program is missing, which fails in CI.

Tests that use these carry `pytest.mark.needs_nodes`, so that they run after the others, beside which kubo is built.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from allod.nodes import AnvilNode, KuboNode, find_program
from consent.chain.embedded import CHAIN_ID, developer
from core.errors import NotFound


def need(program: str) -> None:
    """Skip the test unless `ipfs` or `anvil` is here."""
    try:
        find_program(program)
    except NotFound as error:
        pytest.skip(f"{error.message} {error.hint}")


@contextmanager
def running_kubo(folder: Path) -> Iterator[KuboNode]:
    """A kubo node with a new repository in `folder`."""
    need("ipfs")
    with KuboNode(folder) as node:
        yield node


@contextmanager
def running_anvil(folder: Path, *options: str, chain_id: int = CHAIN_ID) -> Iterator[AnvilNode]:
    """An anvil chain on which the developer has native money."""
    need("anvil")
    with AnvilNode(folder, *options, chain_id=chain_id) as node:
        node.fund(developer().address, 10**9 * 10**18)
        yield node


@contextmanager
def running_postgres() -> Iterator[str]:
    """An empty PostgreSQL server of its own, reached through a socket file only; yields the URL of its database."""
    places = [shutil.which("initdb"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    found = [place for place in places if place]
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql).")
    programs = Path(found[-1]).parent
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        user, words = getpass.getuser(), list[str]()
        if os.geteuid() == 0:  # it refuses to be run by root
            user, words = "postgres", ["runuser", "-u", "postgres", "--"]
            shutil.chown(name, user)

        def do(*command: str) -> None:
            quiet = subprocess.DEVNULL
            subprocess.run([*words, *command], check=True, stdout=quiet, stderr=quiet, cwd="/", timeout=120)

        data, socket = f"{name}/data", f"-c listen_addresses= -c unix_socket_directories={name} -c fsync=off"
        do(str(programs / "initdb"), "-D", data, "-A", "trust", "-E", "UTF8", "--no-sync")
        do(str(programs / "pg_ctl"), "-D", data, "-w", "-t", "60", "-l", f"{name}/log", "-o", socket, "start")
        try:
            yield f"postgresql+psycopg:///postgres?host={name}&user={user}"
        finally:
            do(str(programs / "pg_ctl"), "-D", data, "-w", "-m", "immediate", "stop")
