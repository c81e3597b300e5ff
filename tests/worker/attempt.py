"""One worker of the kill loop: it records the points where it touches anything outside, or dies at one of them.

A point is a write at a port: a transaction sent to the chain, a call to a keeper, blocks put or flushed, a file of the
home replaced, removed or appended to, a commit that changed rows, a frame to or from the trainer child. They are found
by wrapping the ports, so whatever a later version writes is a point without anybody naming it. A point's name is its
kind and how often that kind came before it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from allod.world import World
from consent.chain.client import Chain
from consent.keeper.port import KeeperPort
from core.errors import Unavailable
from core.settings import Settings
from finetune.checkpoint import Every
from finetune.trainer_process import TrainerProcess
from finetune.workspace import Workspace
from tests.worker.forked import ForkedTrainer
from vault.carstore import CarStore

RECORDED = "points"


class Attack:
    """Counts points; at the chosen one, on the chosen side, it kills the worker or its child."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._chosen = spec.get("attack")
        self._seen: Counter[str] = Counter()
        self._file = spec.get("record")
        self._pause = spec.get("pause")
        self._folder = Path(spec.get("folder", "/nowhere"))
        self.child: ForkedTrainer | None = None
        self.on = True
        self._chain: Chain | None = None

    def chain(self, url: str) -> Chain:
        """The chain, with what is sent to it watched; one client for the whole process, to save time."""
        if self._chain is None:
            self._chain = Chain.http(url)
            provider = self._chain._provider
            ask = provider.request

            def request(method: str, params: Any) -> Any:
                if not method.startswith("eth_send"):
                    return ask(method, params)
                with self.at(f"chain {method}"):
                    return ask(method, params)

            provider.request = request  # type: ignore[method-assign]
        return self._chain

    @contextmanager
    def at(self, kind: str) -> Iterator[None]:
        """The point around one write."""
        if not self.on:
            yield
            return
        nth = self._seen[kind]
        self._seen[kind] += 1
        if self._file:
            fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(fd, f"{kind}#{nth}\n".encode())
            os.close(fd)
        self._strike(kind, nth, "before")
        if self._pause == [kind, nth]:
            self._wait()
        yield
        self._strike(kind, nth, "after")

    def _wait(self) -> None:
        """Stand still, and say so, until the test says go or the child is dead."""
        (self._folder / "paused").touch()
        while not (self._folder / "go").exists() and self.child is not None and self.child.is_alive:
            time.sleep(0.01)

    def _strike(self, kind: str, nth: int, side: str) -> None:
        if self._chosen is None or self._chosen[:3] != [kind, nth, side]:
            return
        if self._chosen[3] == "worker":
            os.kill(os.getpid(), signal.SIGKILL)
        assert self.child is not None
        assert self.child.pid is not None
        os.kill(self.child.pid, signal.SIGKILL)


class _Port:
    """A keeper behind a Unix socket of the test."""

    def __init__(self, path: str, index: int, attack: Attack) -> None:
        self._path, self._index, self._attack = path, index, attack

    def call(self, path: str, body: bytes) -> bytes:
        with self._attack.at(f"keeper {self._index} {path}"):
            try:
                with socket.socket(socket.AF_UNIX) as wire:
                    wire.connect(self._path)
                    name = path.encode()
                    wire.sendall(struct.pack(">BBI", self._index, len(name), len(body)) + name + body)
                    wire.shutdown(socket.SHUT_WR)
                    reply = bytearray()
                    while part := wire.recv(1 << 16):
                        reply += part
            except OSError:
                raise Unavailable("The keeper does not answer.", hint="Try again later.") from None
        if not reply:
            raise Unavailable("The keeper does not answer.", hint="Try again later.")
        return bytes(reply)


class AttackedWorld(World):
    """A home whose chain and keepers live in the test's process, with every port watched."""

    def __init__(self, settings: Settings, spec: dict[str, Any], attack: Attack) -> None:
        super().__init__(settings)
        self._spec, self._attack = spec, attack

    @cached_property
    def chain(self) -> Chain:
        return self._attack.chain(self._spec["rpc"])

    @cached_property
    def ports(self) -> dict[int, KeeperPort]:
        return {index: _Port(self._spec["keepers"], index, self._attack) for index in range(1, 4)}

    @cached_property
    def blocks(self) -> CarStore:
        store = super().blocks
        get, away = store.get, Path(self._spec.get("folder", "/nowhere")) / "blocks-away"

        def found(cid: Any) -> bytes:
            if away.exists():
                raise Unavailable("The block store does not answer.", hint="Try again later.")
            return get(cid)

        store.get = found  # type: ignore[method-assign]
        for name in ("add", "put", "delete", "flush"):
            setattr(store, name, _watched(getattr(store, name), f"blocks {name}", self._attack))
        return store

    def site(self, report: Any = None) -> Any:
        import dataclasses

        every = Every(steps=2, seconds=3600.0)
        return dataclasses.replace(super().site(report), trainer=self._trainer, threads=1, checkpoint=every)

    def _trainer(self) -> TrainerProcess:
        self._attack.child = ForkedTrainer(self._spec["forks"])
        return self._attack.child


def _watched(function: Callable[..., Any], kind: str, attack: Attack) -> Callable[..., Any]:
    def watched(*args: Any, **named: Any) -> Any:
        with attack.at(kind):
            return function(*args, **named)

    return watched


def _watch_files(home: Path, attack: Attack) -> None:
    """Every name in the home that appears, changes or goes, and every append; blocks have a port of their own."""

    def kind(what: str, path: object) -> str | None:
        if not isinstance(path, str | os.PathLike):
            return None
        given = Path(path)
        if not given.is_absolute() or not given.is_relative_to(home):
            return None
        name = given.relative_to(home)
        return None if name.parts[0] == "blocks" or name.name.startswith(".") else f"{what} {name}"

    def wrap(name: str, place: int) -> None:
        real = getattr(os, name)

        def watched(*args: Any, **named: Any) -> Any:
            found = kind(name, args[place]) if "dir_fd" not in named else f"{name} {args[place]}"
            if found is None:
                return real(*args, **named)
            with attack.at(found):
                return real(*args, **named)

        setattr(os, name, watched)

    for name, place in (("replace", 1), ("rename", 1), ("link", 1), ("unlink", 0), ("rmdir", 0)):
        wrap(name, place)
    fsync = os.fsync

    def synced(fd: int) -> None:
        found = None
        if stat.S_ISREG(os.fstat(fd).st_mode):
            found = kind("append", os.readlink(f"/proc/self/fd/{fd}"))
        if found is None:
            fsync(fd)
            return
        with attack.at(found):
            fsync(fd)

    os.fsync = synced


def _watch_commits(attack: Attack) -> None:
    """Every commit that changed a row, whichever of the home's databases it is in."""
    from sqlalchemy import Engine, event
    from sqlalchemy.engine.default import DefaultDialect

    real = DefaultDialect.do_commit
    changing = ("INSERT", "UPDATE", "DELETE", "REPLACE")

    @event.listens_for(Engine, "before_cursor_execute")
    def _note(conn: Any, cursor: Any, statement: str, *_: object) -> None:
        words = statement.split()
        if words and words[0].upper() in changing:
            conn.info.setdefault("said", []).append(" ".join(words[: 2 if words[0].upper() == "UPDATE" else 3]))

    def commit(self: Any, connection: Any) -> None:
        said, rows = connection.info.pop("said", []), connection.driver_connection.total_changes
        if rows == connection.info.get("rows", 0):
            real(self, connection)
            return
        connection.info["rows"] = rows
        with attack.at("commit " + ", ".join(said)):
            real(self, connection)

    DefaultDialect.do_commit = commit  # type: ignore[method-assign]


def _watch_frames(attack: Attack) -> None:
    """Every frame to and from the trainer child."""
    import finetune.trainer_process as wire

    write, read = wire.write_frame, wire.read_frame

    def sent(file: Any, frame: dict[str, Any]) -> None:
        with attack.at(f"send {frame['kind']}"):
            write(file, frame)

    def received(file: Any, **limits: Any) -> Any:
        with attack.at("receive"):
            return read(file, **limits)

    wire.write_frame, wire.read_frame = sent, received


def start_all(spec: dict[str, Any]) -> int:
    """Start every job that the spec names, from several threads at once; what came of each goes to a file."""
    from concurrent.futures import ThreadPoolExecutor

    from allod.starting import start
    from core.errors import AllodError
    from tests.cli.conftest import PASSPHRASE

    with AttackedWorld(Settings(home=Path(spec["home"]), rpc_url=spec["rpc"]), spec, Attack(spec)) as world:
        world.site()  # what opens late is opened once, before the threads
        payer = world.identities.acting("tess").unlock(PASSPHRASE).account

        def one(folder: str) -> list[str]:
            job = Workspace(world.home / "jobs" / folder)
            try:
                start(world, job, payer, Path(spec["base"]))
            except AllodError as error:
                return [folder, error.slug, error.message]
            return [folder, "started", ""]

        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(one, spec["jobs"]))
    Path(spec["said"]).write_text(json.dumps(said))
    return 0


def main(spec: dict[str, Any]) -> int:
    """Run a worker until no job waits."""
    import allod.events
    from allod.worker import Worker

    allod.events.PROGRESS_SECONDS = 0.0
    attack = Attack(spec)
    home = Path(spec["home"])
    _watch_files(home, attack)
    _watch_commits(attack)
    _watch_frames(attack)
    os.umask(0o077)
    settings = Settings(home=home, rpc_url=spec["rpc"])

    def open_world(settings: Settings) -> World:
        return AttackedWorld(settings, spec, attack)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with ExitStack() as stack:
        worker = stack.enter_context(Worker(settings, stop=stop, open_world=open_world, look=0.05, pauses=(0.02, 0.5)))
        if spec.get("beside"):
            from allod.beside import Beside

            stack.enter_context(Beside(settings, open_world=open_world, look=0.05))
        worker.run(until_idle=not spec.get("beside"))
        attack.on = False  # the job is over
    sys.stdout.flush()
    return 0
