"""`allod up`: the embedded world as one tree of processes, each with what is its own and nothing else.

The chain, three keepers, the runner of jobs and the server with the owner's page. They share the home's database and
its block store, and speak over loopback; a keeper's keys are opened by that keeper alone, the runner's by the runner.
What the settings say runs elsewhere (a chain, a committee) is not started here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from allod.nodes import free_port
from allod.services import forget_services, tell_services, up_lock
from allod.supervising import GRACE, Part, Tree, begin
from allod.world import World
from consent.committee import Member
from core.errors import Busy, Unavailable
from core.listening import listen
from core.settings import Settings

T = TypeVar("T")
LOOPBACK = "127.0.0.1"


@contextmanager
def standing(
    settings: Settings, port: int, *, stop: threading.Event, say: Callable[[str], None]
) -> Iterator[tuple[Tree, str]]:
    """Start every part in order; gives the tree, to be run, and the page's address. Leaving stops all of it."""
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(up_lock(home))
        forget_services(home)  # of an `allod up` that was killed
        tree = stack.enter_context(Tree(home / "logs", stop=stop, say=say))
        # A port that is taken is told before anything is started.
        _when_free(tree, lambda: listen(LOOPBACK, port).close(), say)
        rpc = settings.rpc_url or _start_chain(tree, settings)
        here = settings.model_copy(update={"rpc_url": rpc})
        url = f"http://{LOOPBACK}:{port}"
        parts = []
        if settings.committee is None:
            stack.callback(forget_services, home)  # before the keepers stop: whoever asks then opens them here
            parts += _keepers(here, _when_free(tree, lambda: _members(here), say))
        parts.append(Part("runner", _allod("worker"), _environment(here)))
        words = _allod("serve", "--host", LOOPBACK, "--port", str(port))
        parts.append(Part("server", words, _environment(here), _ask(f"{url}/livez")))
        tree.start(*parts)
        yield tree, url


def make_people(settings: Settings, tree: Tree, url: str) -> list[str]:
    """The demo's owner and trainer, made by a process of their own beside the tree; what to know of them.

    `Unavailable` where it failed, with what it said.
    """
    child = begin([sys.executable, "-m", "allod.demo.people", url], _environment(settings), subprocess.PIPE)
    told: list[bytes] = []
    assert child.stdout is not None
    reader = threading.Thread(target=lambda: told.extend(child.stdout or ()), daemon=True)
    reader.start()
    try:
        while child.poll() is None and not tree.is_stopping:
            tree.look()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # what it started, too: that holds the pipe
        code = child.wait()
        reader.join()
        child.stdout.close()
    lines = b"".join(told).decode(errors="replace").splitlines()
    if code and not tree.is_stopping:
        raise Unavailable(
            "The demo's people could not be made.", hint="\n".join(lines[-5:]) or f"It ended with {code}."
        )
    return lines


def _when_free(tree: Tree, action: Callable[[], T], say: Callable[[str], None]) -> T:
    """Do it; what an `allod up` that was killed still holds, and a part that is started again, are waited for."""
    deadline, told = time.monotonic() + GRACE, False
    while True:
        try:
            return action()
        except (Busy, Unavailable) as error:
            if tree.is_stopping or time.monotonic() > deadline:
                raise
            if not told:
                say(f"{error.message} Waiting a moment for it.")
                told = True
        tree.look()


def _start_chain(tree: Tree, settings: Settings) -> str:
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    words = _allod("chain", "serve", "--port", str(port))
    tree.start(Part("chain", words, _environment(settings), lambda: _speaks(url)))
    return url


def _members(settings: Settings) -> Sequence[Member]:
    """The keepers of the home's committee, which is founded if it has none."""
    with World(settings) as world:
        return world.committee.keepers


def _keepers(settings: Settings, members: Sequence[Member]) -> list[Part]:
    """Each keeper of the home, on a port of its own."""
    folder, deployment = settings.home / "keepers", settings.deployment_file
    urls = {member.index: f"http://{LOOPBACK}:{free_port()}" for member in members}
    tell_services(settings.home, urls)
    parts = []
    for index, url in urls.items():
        words = _allod("keeper", "serve", str(folder / str(index)), "--committee", str(folder / "committee.json"))
        words += ["--rpc", str(settings.rpc_url), "--deployment", str(deployment)]
        words += ["--listen", url.removeprefix("http://")]
        # Nothing of this home's settings is a keeper's business: it has what its command line names.
        parts.append(Part(f"keeper {index}", words, _bare(), _ask(f"{url}/livez")))
    return parts


def _ask(url: str) -> Callable[[], bool]:
    return lambda: _answers(url)


def _allod(*words: str) -> list[str]:
    return [sys.executable, "-m", "allod", *words]


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ALLOD_")}


def _environment(settings: Settings) -> dict[str, str]:
    """What a part of this home reads: the settings of whoever started us, and where the chain answers."""
    found = {**os.environ, "ALLOD_HOME": str(settings.home)}
    if settings.rpc_url is not None:
        found["ALLOD_RPC_URL"] = settings.rpc_url
    return found


def _answers(asked: str | urllib.request.Request) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=5):  # noqa: S310 - loopback
        return True
    return False


def _speaks(url: str) -> bool:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    return _answers(urllib.request.Request(url, body, {"Content-Type": "application/json"}))  # noqa: S310 - loopback
