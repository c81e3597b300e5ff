"""A keeper: bytes in, bytes out, one method for every path, in this process or behind HTTP alike.

It keeps its keys, its records and the committees it sits in inside one folder. Promises: `handle` never raises for
what a request holds; whatever goes wrong, the answer is a refusal with one plain sentence and nothing was released.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from consent.chain.client import Chain
from consent.chain.deployment import Deployment
from consent.committee import Committee
from consent.keeper import releasing, revoking, service, settling, trees
from consent.keeper.facts import Facts
from consent.keeper.keys import KeeperKeys
from consent.keeper.station import Seat, Station
from consent.keeper.store import KeeperStore
from consent.keeper.wire import MAX_REQUEST, write_error
from core.errors import AllodError, Denied, InvalidInput, NotFound
from core.files import write_atomic
from core.ids import Address
from core.limits import Buckets

LIMITS = {
    "service": 1 << 10,
    "tree": MAX_REQUEST,
    "release": MAX_REQUEST,
    "revoke": 1 << 19,
    "ledger": 1 << 16,
    "settlement": MAX_REQUEST,
    "log": 1 << 10,
}
"""Bytes of a request at each path: a stranger's megabytes are parsed only where a tree or a table may need them."""
_LOG = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A reply, the HTTP status that fits it, and after how many seconds to ask again (0: nothing is said of that)."""

    status: int
    reply: bytes
    wait: int = 0


class Keeper:
    """The keeper in `folder`, whose keys `KeeperKeys.create` made, for one deployment.

    `chains` is its own view of the chain: one endpoint, or several that must agree. `clock` gives Unix seconds.
    `signers` bounds how much one signer may have this keeper write; without it there is no bound.
    """

    def __init__(
        self,
        folder: Path,
        chains: Chain | Sequence[Chain],
        deployment: Deployment,
        *,
        clock: Callable[[], float] = time.time,
        signers: Buckets | None = None,
    ) -> None:
        endpoints = [chains] if isinstance(chains, Chain) else list(chains)
        for chain in endpoints:
            if chain.chain_id != deployment.chain_id:
                raise Denied("A keeper's endpoint serves another chain than its deployment.")
        keys = KeeperKeys.open(folder)
        token, escrow = Address(deployment.consent_token), Address(deployment.escrow)
        place = deployment.chain_id.to_bytes(32, "big") + token + escrow
        facts = Facts(endpoints, deployment, clock)
        store = KeeperStore(folder / "keeper.sqlite", place)
        self._committees = folder / "committees"
        self._station = Station(deployment.chain_id, token, escrow, keys, store, facts, clock, signers)
        self._desks: dict[str, Callable[[Station, bytes], bytes]] = {
            "service": service.service,
            "tree": trees.answer,
            "release": releasing.release,
            "revoke": revoking.answer,
            "ledger": settling.take_ledger,
            "settlement": settling.settle,
            "log": service.log,
        }
        for path in sorted(self._committees.glob("*.json")):
            self._sit(Committee.decode(path.read_bytes()))

    @property
    def address(self) -> Address:
        """The address of its signing key, which clients pin."""
        return self._station.keys.address

    def join(self, committee: Committee) -> None:
        """Take the seat in a committee whose document every keeper signed; lasts across restarts."""
        self._sit(committee)
        write_atomic(self._committees / f"{committee.id.hex()}.json", committee.encode())

    def _sit(self, committee: Committee) -> None:
        committee.verify()
        keys = self._station.keys
        for member in committee.keepers:
            if member.address == keys.address:
                if committee.epoch in keys.epochs and keys.hpke_public(committee.epoch) != member.hpke:
                    raise Denied("The committee's document names another HPKE key for this keeper.")
                self._station.seats[committee.id] = Seat(committee, member.index)
                return
        raise Denied("This keeper is not named by that committee.")

    def handle(self, path: str, body: bytes) -> bytes:
        """The reply to one request; a refusal is dag-cbor {"v", "error", "reason", "next"}."""
        return self.answer(path, body).reply

    def answer(self, path: str, body: bytes) -> Answer:
        """The reply to one request, with what HTTP says beside it. Requests may come from many threads at once."""
        try:
            desk = self._desks.get(path.strip("/"))
            if desk is None:
                raise NotFound("A keeper has no such path.")
            limit = LIMITS[path.strip("/")]
            if len(body) > limit:
                raise InvalidInput(f"The request is larger than {limit} bytes.")
            return Answer(200, desk(self._station, body))
        except AllodError as error:
            wait = error.detail.get("retry_after", 0)
            return Answer(429 if wait else error.status, write_error(error), wait)
        except Exception as error:
            _LOG.error("keeper path %s failed: %s", path.strip("/")[:20], type(error).__name__)
            failure = AllodError("The keeper failed; nothing was released.", hint="Ask another keeper.")
            return Answer(failure.status, write_error(failure))

    def close(self) -> None:
        """Close its records."""
        self._station.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
