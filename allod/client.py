"""A client of the HTTP API for programs: sign in, send a vault's blocks, commit its head.

Promises. Only blocks that the server lacks are sent, in parts of at most 16 MiB, few in memory at a time; whatever cut
an earlier attempt off, doing it again sends the rest. Errors are those of `core.errors`, as the server named them.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from allod.depot import PART, QUESTION
from allod.vaults import prove
from consent.addresses import write_address
from consent.chain.account import Account
from consent.chain.wallet import personal_digest
from core.encoding import to_hex
from core.errors import AllodError, NotFound, Unavailable
from core.ids import Address
from vault.blocks import BlockStore
from vault.car import encode_header, write_car
from vault.cid import CID_SIZE, Cid
from vault.manifest import VaultHead
from vault.reachable import Incomplete, reach
from vault.vault import Vault

MEDIA_TYPE = "application/vnd.ipld.car"
_ATTEMPTS = 3  # of a commit for which blocks turn out to be missing
_FLYING = 2  # parts under way
_PATIENCE = 60.0  # seconds in which a busy server takes a part after all
_FRAME = 4 + CID_SIZE


class Keeping(Protocol):
    """Who keeps a vault for an account: a server behind `Client`, or its logic itself."""

    account: Address

    def missing(self, cids: list[Cid]) -> list[Cid]:
        """Those that are not there, of at most 1000."""
        ...

    def send(self, part: bytes) -> None:
        """Have a CAR of at most 16 MiB stored."""
        ...

    def commit(self, head: Cid, previous: Cid | None, proof: bytes) -> None:
        """Make the head the account's vault, if `previous` is the one that is kept."""
        ...


def push(keeping: Keeping, vault: Vault, blocks: BlockStore, previous: Cid | None) -> int:
    """Have the vault kept as it stands in `blocks`; how many blocks were sent for it.

    `previous` is the head that was pushed before, None at first: where another one is kept by now, from another device
    of the owner, that is a `Conflict`, and nothing of it is undone.
    """
    head = vault.head_cid
    if head is None:
        raise NotFound("The vault is empty.", hint="Add a file first.")
    wanted = list(needed(blocks, head))
    sent = send_missing(keeping, blocks, wanted)
    proof = prove(vault.signing_key, keeping.account, vault.vault_id)
    for attempt in range(_ATTEMPTS):
        try:
            keeping.commit(head, previous, proof)
            break
        except Incomplete as error:
            if attempt == _ATTEMPTS - 1:
                raise
            lacking = [Cid.parse(name) for name in error.detail["missing"]]
            sent += send(keeping, blocks, lacking)
    return sent


def needed(blocks: BlockStore, head: Cid) -> dict[Cid, int]:
    """Every block that a head of one's own needs, with its size."""
    found = reach(blocks, head, VaultHead.decode(blocks.get(head)), frozenset(), None)
    return {cid: size for unit in found.new.values() for cid, size in unit.items()}


def send_missing(keeping: Keeping, blocks: BlockStore, cids: Iterable[Cid]) -> int:
    """Send what is missing of these; how many blocks that were."""
    rest, sent = iter(cids), 0
    while some := list(islice(rest, QUESTION)):
        sent += send(keeping, blocks, keeping.missing(some))
    return sent


def send(keeping: Keeping, blocks: BlockStore, cids: Iterable[Cid]) -> int:
    """Send these blocks; how many. While one part is stored the next is on its way."""
    sent = 0
    flying: deque[Future[None]] = deque()
    with ThreadPoolExecutor(_FLYING, "upload") as pool:
        for part, count in parts(blocks, cids):
            if len(flying) == _FLYING:
                flying.popleft().result()
            flying.append(pool.submit(keeping.send, part))
            sent += count
        for one in flying:
            one.result()
    return sent


def parts(blocks: BlockStore, cids: Iterable[Cid]) -> Iterator[tuple[bytes, int]]:
    """CARs of at most 16 MiB with these blocks in turn, and how many blocks are in each."""
    batch: list[tuple[Cid, bytes]] = []
    size = len(encode_header())
    for cid in cids:
        data = blocks.get(cid)
        if batch and size + _FRAME + len(data) > PART:
            yield _car(batch), len(batch)
            batch, size = [], len(encode_header())
        batch.append((cid, data))
        size += _FRAME + len(data)
    if batch:
        yield _car(batch), len(batch)


def _car(batch: list[tuple[Cid, bytes]]) -> bytes:
    sink = io.BytesIO()
    write_car(sink, (), batch)
    return sink.getvalue()


class Client:
    """An account's session with the server at `url`. Close it, or use it in a `with` block."""

    def __init__(self, url: str, account: Account, *, http: httpx.Client | None = None, timeout: float = 120) -> None:
        """`http` is one that the caller made and closes, such as a test's; the server is asked for at `sign_in`."""
        self.url = url.rstrip("/")
        self.account = account.address
        self._key = account
        self._is_ours = http is None
        self.http = http or httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def sign_in(self) -> None:
        """Begin a session (EIP-4361)."""
        world = self.ask("GET", "/v1/world")
        nonce = self.ask("POST", "/v1/nonces")["nonce"]
        message = _message(self.url, self.account, world["chain_id"], nonce)
        signature = self._key.sign_hash(personal_digest(message.encode()))
        begun = self.ask("POST", "/v1/sessions", json={"message": message, "signature": to_hex(signature)})
        self.http.headers.update({"X-CSRF-Token": begun["csrf_token"], "Origin": self.url})

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """What the server answers, as JSON; its problems are raised as the errors that they are."""
        try:
            answer = self.http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise Unavailable(f"The server does not answer: {type(error).__name__}.", hint="Try again.") from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise _error_of(answer)

    def missing(self, cids: list[Cid]) -> list[Cid]:
        """See `Keeping`."""
        asked = {"cids": [str(cid) for cid in cids]}
        found = _patiently(lambda: self.ask("POST", "/v1/blocks/missing", json=asked))
        return [Cid.parse(text) for text in found["missing"]]

    def send(self, part: bytes) -> None:
        """See `Keeping`."""
        headers = {"Content-Type": MEDIA_TYPE}
        _patiently(lambda: self.ask("POST", "/v1/blocks", content=part, headers=headers))

    def newest(self) -> Cid | None:
        """The head of the account's vault; None before the first commit."""
        try:
            return Cid.parse(self.ask("GET", "/v1/vaults/mine")["head"])
        except NotFound:
            return None

    def commit(self, head: Cid, previous: Cid | None, proof: bytes) -> None:
        """See `Keeping`."""
        body = {"head": str(head), "previous": previous and str(previous), "proof": to_hex(proof)}
        _patiently(lambda: self.ask("PUT", "/v1/vaults/mine", json=body))

    def close(self) -> None:
        """Let the connection go; the session ends by itself."""
        if self._is_ours:
            self.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask again as long as the server says when to come back, for `_PATIENCE` seconds."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except AllodError as error:
            wait = error.detail.get("retry_after")
            if not isinstance(wait, int) or time.monotonic() + wait > end:
                raise
            time.sleep(wait)


def _message(url: str, account: Address, chain_id: int, nonce: str) -> str:
    now = time.time()
    return "\n".join(
        [
            f"{url.partition('://')[2]} wants you to sign in with your Ethereum account:",
            write_address(account),
            "",
            "Sign in to Allod.",
            "",
            f"URI: {url}",
            "Version: 1",
            f"Chain ID: {chain_id}",
            f"Nonce: {nonce}",
            f"Issued At: {_iso(now)}",
            f"Expiration Time: {_iso(now + 300)}",
        ]
    )


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _error_of(answer: httpx.Response) -> AllodError:
    """The error that a problem document tells of."""
    try:
        told = answer.json()
        slug, message, hint = str(told["type"]).rpartition(":")[2], str(told["detail"]), str(told.get("hint", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unavailable(
            f"The server answers {answer.status_code}, and not with a problem document.", hint="Try again."
        )
    known = {"type", "title", "status", "detail", "hint", "instance", "trace_id", "message"}
    kinds = {kind.slug: kind for kind in _kinds(AllodError)}
    kind = kinds.get(slug) or next((one for one in kinds.values() if one.status == answer.status_code), AllodError)
    return kind(message, hint=hint, **{name: value for name, value in told.items() if name not in known})


def _kinds(kind: type[AllodError]) -> Iterator[type[AllodError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)
