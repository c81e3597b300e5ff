"""`allod up`: the embedded world as one tree of processes, each with what is its own and nothing else.

The chain, three keepers, the runner of jobs and the server with the owner's page. They share the home's database and
its block store, and speak over loopback; a keeper's keys are opened by that keeper alone, the runner's by the runner.
What the settings say runs elsewhere (a chain, a committee) is not started here.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from allod.nodes import free_port
from allod.services import forget_services, tell_services
from allod.supervising import Part, Tree
from allod.world import World
from core.files import Lock
from core.listening import listen
from core.settings import Settings

LOOPBACK = "127.0.0.1"


@contextmanager
def standing(
    settings: Settings, port: int, *, stop: threading.Event, say: Callable[[str], None]
) -> Iterator[tuple[Tree, str]]:
    """Start every part in order; gives the tree, to be run, and the page's address. Leaving stops all of it."""
    home = settings.home
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(Lock(home / "up.lock", what="This home's `allod up`"))
        listen(LOOPBACK, port).close()  # a port that is taken is told before anything is started
        tree = stack.enter_context(Tree(home / "logs", stop=stop, say=say))
        rpc = settings.rpc_url or _start_chain(tree, settings)
        here = settings.model_copy(update={"rpc_url": rpc})
        url = f"http://{LOOPBACK}:{port}"
        parts = []
        if settings.committee is None:
            stack.callback(forget_services, home)  # before the keepers stop: whoever asks then opens them here
            parts += _keepers(here)
        parts.append(Part("runner", _allod("worker"), _environment(here)))
        words = _allod("serve", "--host", LOOPBACK, "--port", str(port))
        parts.append(Part("server", words, _environment(here), _ask(f"{url}/livez")))
        tree.start(*parts)
        yield tree, url


def make_people(settings: Settings, tree: Tree, url: str) -> list[str]:
    """The demo's owner and trainer, made by a process of their own beside the tree; what to know of them."""
    words = [sys.executable, "-m", "allod.demo.people", url]
    child = subprocess.Popen(  # noqa: S603 - our own words, no shell
        words, env=_environment(settings), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    told: list[bytes] = []
    assert child.stdout is not None
    reader = threading.Thread(target=lambda: told.extend(child.stdout or ()), daemon=True)
    reader.start()
    try:
        while child.poll() is None and not tree.is_stopping:
            tree.look()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        reader.join()
        child.stdout.close()
    return b"".join(told).decode(errors="replace").splitlines()


def _start_chain(tree: Tree, settings: Settings) -> str:
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    words = _allod("chain", "serve", "--port", str(port))
    tree.start(Part("chain", words, _environment(settings), lambda: _speaks(url)))
    return url


def _keepers(settings: Settings) -> list[Part]:
    """Found the home's committee if it has none; each of its keepers, on a port of its own."""
    forget_services(settings.home)  # of an `allod up` that was killed
    folder, deployment = settings.home / "keepers", settings.deployment_file
    with World(settings) as world:
        members = world.committee.keepers
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
