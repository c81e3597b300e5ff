"""Whether each part that requests need works: database, migrations, chain, keepers, block store, disk. Knows no HTTP.

Promises: a look takes five seconds at most, whatever hangs; one look is shared by all who ask within two seconds; a
reason names no address, path or account.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from sqlalchemy import text

from allod import schema
from allod.world import World
from core.errors import AllodError
from vault.cid import Cid

PATIENCE = 5.0
BESIDE = ("relayer", "disk")  # what is told, though requests may come: keepers hear of revocations all the same
GOOD_FOR = 2.0
OLD_HEAD = 300  # seconds; a public chain whose newest block is older stands still, or its endpoint lags
GAS = 1_000_000  # of a large relayed transaction
EMPTY = Cid.parse("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku")  # of the empty file
SILENT = "It does not answer in time."


class Readiness:
    """Looks at the parts of one world."""

    def __init__(
        self,
        world: World,
        *,
        patience: float = PATIENCE,
        good_for: float = GOOD_FOR,
        checks: Mapping[str, Callable[[World], str]] | None = None,
    ) -> None:
        """`checks` say what is wrong with a part, or nothing; all have `patience` seconds together."""
        self._patience, self._good_for = patience, good_for
        self._world = world
        self._checks = dict(CHECKS if checks is None else checks)
        self._guard = threading.Lock()
        self._running: dict[str, Future[str]] = {}
        self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="readiness")
        self._seen: dict[str, str] = {}
        self._seen_at = -good_for

    def look(self) -> dict[str, str]:
        """What is wrong with each part; an empty text where nothing is."""
        with self._guard:
            if time.monotonic() - self._seen_at < self._good_for:
                return self._seen
            for part, check in self._checks.items():
                if part not in self._running:  # else it hangs since an earlier look, which is answer enough
                    self._running[part] = self._pool.submit(_flaw, check, self._world)
            wait(self._running.values(), self._patience)
            self._seen = {
                part: self._running.pop(part).result() if self._running[part].done() else SILENT
                for part in self._checks
            }
            self._seen_at = time.monotonic()
            return self._seen

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _flaw(check: Callable[[World], str], world: World) -> str:
    try:
        return check(world)
    except AllodError as error:
        return f"It does not work ({error.slug})."
    except Exception as error:
        return f"It does not work ({type(error).__name__})."


def _database(world: World) -> str:
    with world.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return ""


def _migrations(world: World) -> str:
    with world.engine.connect() as connection:
        found = schema.current(connection)
    return "" if found == schema.HEAD else "The database is at another revision than this program."


def _chain(world: World) -> str:
    chain = world.sight
    if chain.check_chain_id() != world.deployment.chain_id:
        return "The endpoint serves another chain."
    age = time.time() - chain.block().timestamp
    return f"Its newest block is {age:.0f} s old." if age > OLD_HEAD and not chain.is_development else ""


def _keepers(world: World) -> str:
    committee, ports = world.committee, world.ports
    with ThreadPoolExecutor(len(ports)) as pool:
        answering = sum(pool.map(lambda port: _answers(port.call), ports.values()))
    if answering < committee.t:
        return f"{answering} of {committee.n} answer; {committee.t} are needed."
    return ""


def _answers(call: Callable[[str, bytes], bytes]) -> bool:
    try:
        return bool(call("service", b""))
    except AllodError:
        return False


def _blocks(world: World) -> str:
    world.blocks.has(EMPTY)
    return ""


def _disk(world: World) -> str:
    return "" if world.depot.has_space() else "There is no room for uploads."


def _relayer(world: World) -> str:
    chain = world.sight
    _, base, tip = chain.pricing()
    if chain.balance(world.relayer.address) < GAS * (2 * base + tip):
        return "The account that pays for what is relayed has too little money: operations wait until it has more."
    return ""


CHECKS: Mapping[str, Callable[[World], str]] = {
    "database": _database,
    "migrations": _migrations,
    "chain": _chain,
    "relayer": _relayer,
    "keepers": _keepers,
    "blocks": _blocks,
    "disk": _disk,
}
