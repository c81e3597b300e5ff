"""kubo's RPC, spoken through `ipfshttpclient`, which only this module imports; the node is not trusted.

Promises. Every parameter that changes a result is named in the request; no call lets the node look for anything in the
network. A reply is read within a bound of bytes and of time, is never unpacked or redirected, and one that ends early
is an error, also where kubo says so behind the body only (its trailer X-Stream-Error). What a reply says is compared
with what was asked; what a block holds is the caller's to verify. A node that is away is tried again until `patience`
has passed; all calls may be made twice. Threads may share one client.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import urllib3
from ipfshttpclient import exceptions
from ipfshttpclient.http_requests import ClientSync

from core.errors import Corrupted, InvalidInput, Unavailable
from vault.blocklist import raw
from vault.blocks import MAX_BLOCK, Data, verify_block
from vault.car import encode_frame, encode_header
from vault.cid import DAG_CBOR, Cid
from vault.gateway import gateway_url
from vault.wire import Away, KuboError, Upload, printable, read_chunks

OLDEST, NEWEST = (0, 40), (0, 43)  # versions between which the suite passes
PATIENCE = 120.0  # seconds for which an absent node is tried again
TIMEOUT = 60.0  # seconds for which a node may be silent within a call
_CONNECT = 5.0
_REPLY = 1 << 20  # bytes of a JSON reply
_PINS = 256 << 20  # likewise, for the list of all pins: some two million of them
_PIECE = 64 << 10
_TRIES = 3  # for an error that kubo reports
_AWAY = {408, 429, 502, 503, 504}
_BYTES = ("application/vnd.ipld.", "application/octet-stream", "text/plain")
_JSON = ("application/json",)
_GATEWAY_TIMEOUT = 10.0

_Result = TypeVar("_Result")


class _Session:
    """What ipfshttpclient takes for a session of `requests`, which would follow redirects, unpack what comes, and take
    cookies, proxies and passwords from elsewhere; it costs half a millisecond a call, too."""

    def __init__(self, headers: dict[str, str], params: dict[str, str]) -> None:
        self._pools = urllib3.PoolManager(maxsize=8, retries=False)
        self._headers, self._params = headers, params

    def request(
        self,
        method: str,
        url: str,
        *,
        params: dict[str, str | list[str]],
        timeout: tuple[float, float],
        data: Upload | None,
        **_: object,
    ) -> _Reply:
        headers = self._headers | (data.headers if data is not None else {"Content-Length": "0"})
        query = urlencode(self._params | params, doseq=True)
        found = self._pools.request(
            method,
            f"{url}?{query}",
            body=cast(Any, data),
            headers=headers,
            timeout=urllib3.Timeout(connect=timeout[0], read=timeout[1]),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        return _Reply(found)

    def close(self) -> None:
        self._pools.clear()


class _Reply:
    """A reply whose body was not read yet."""

    def __init__(self, raw: urllib3.BaseHTTPResponse) -> None:
        self.raw = raw
        self.status = raw.status

    def header(self, name: str, default: str = "") -> str:
        """A header's value."""
        return str(self.raw.headers.get(name, default))

    def iter_content(self, **_: object) -> None:
        """`Kubo._pieces` reads the body."""

    def close(self) -> None:
        """Done with it: a connection with unread bytes is not used again."""
        self.raw.close()


class _Http(ClientSync):  # type: ignore[misc]
    """ipfshttpclient's own client, with our session; statuses and bodies are read by `Kubo`."""

    def _make_session(self) -> _Session:
        return _Session(dict(self._session_props["headers"] or {}), dict(self._session_props["params"]))

    def _do_raise_for_status(self, response: _Reply) -> None:
        return


class Kubo:
    """One kubo node by its RPC's multiaddress, such as `/ip4/127.0.0.1/tcp/5001`."""

    def __init__(
        self,
        address: str,
        *,
        authorization: str | None = None,
        gateway: str | None = None,
        patience: float = PATIENCE,
        timeout: float = TIMEOUT,
    ) -> None:
        """`authorization` is the header that kubo's `API.Authorizations` asks for; `gateway` is the URL of the node's
        gateway, by default what its configuration says. Nothing is sent yet."""
        if authorization is not None and not authorization.isprintable():
            raise InvalidInput("The authorization for kubo is not one line of text.", hint="Such as: Bearer WORD")
        self.address = address
        self._patience, self._timeout = patience, timeout
        self._thread = threading.local()
        self._never = threading.Event()
        self._gateway, self._gateway_known = gateway, gateway is not None
        self._gateway_pools = urllib3.PoolManager(maxsize=8, retries=False)
        try:
            self._http = _Http(
                address, "api/v0", offline=True, headers={"Authorization": authorization} if authorization else {}
            )
        except (exceptions.AddressError, ValueError):
            raise InvalidInput(
                f"{address!r} is not the address of a kubo RPC.", hint="Write it like /ip4/127.0.0.1/tcp/5001"
            ) from None
        if address.startswith("/unix/"):
            raise InvalidInput("kubo is reached over TCP, not over a socket file.", hint="Use /ip4/127.0.0.1/tcp/5001")
        self._http.open_session()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close_session()
        self._gateway_pools.clear()

    @contextmanager
    def patient_until(self, event: threading.Event) -> Generator[None]:
        """Within it, no call of this thread is tried again once `event` is set."""
        self._thread.event = event
        try:
            yield
        finally:
            del self._thread.event

    def version(self) -> str:
        """What the node says that it is, such as 0.43.0."""
        (reply,) = self._json("version", [], {}, count=1)
        version = reply.get("Version")
        if not isinstance(version, str) or not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,2}([-+.\w]{0,64})?", version):
            raise self._nonsense("it names no version")
        return version

    def send(self, blocks: Iterable[tuple[Cid, Data]]) -> None:
        """Import a CAR of these blocks, each under the raw CID of its bytes. They are neither durable nor safe from
        garbage collection before a node that links them is pinned.

        kubo files blocks by their hashes alone and decodes those of other codecs, so raw is what stores anything.
        """
        pieces: list[Data] = [encode_header()]
        count = size = 0
        for cid, data in {raw(cid): data for cid, data in blocks}.items():
            length = memoryview(data).nbytes
            pieces += (encode_frame(cid, length), data)
            count, size = count + 1, size + length
        options = {"pin-roots": "false", "stats": "true", "allow-big-block": "true", "fast-provide-root": "false"}
        (reply,) = self._json("dag/import", [], options, pieces, count=1)
        if reply.get("Stats") != {"BlockCount": count, "BlockBytesCount": size}:
            raise self._nonsense(f"of {count} blocks sent it acknowledges others")

    def block(self, cid: Cid) -> bytes:
        """The bytes that the node gives out as this block, unverified; `KuboError` if it has none.

        Its gateway gives a block out three times as fast as its RPC, which writes 4 KiB at a time. Whatever is wrong
        with the gateway's answer, it is not asked again.
        """
        if (gateway := self._known_gateway()) is not None:
            try:
                return self._from_gateway(gateway, cid)
            except (Away, Corrupted):
                self._gateway = None

        def get() -> bytes:
            with self._reply("block/get", [str(raw(cid))], {}, None, _BYTES) as reply:
                return b"".join(self._pieces(reply, MAX_BLOCK))

        return self._patiently(get)

    def _known_gateway(self) -> str | None:
        if not self._gateway_known:
            self._gateway_known = True
            with suppress(KuboError, Unavailable):
                (reply,) = self._json("config", ["Addresses.Gateway"], {}, count=1)
                self._gateway = gateway_url(reply.get("Value"), self.address)
        return self._gateway

    def _from_gateway(self, gateway: str, cid: Cid) -> bytes:
        headers = {"Accept": "application/vnd.ipld.raw", "Cache-Control": "only-if-cached"}
        with self._translated():
            reply = self._gateway_pools.request(
                "GET",
                f"{gateway}/ipfs/{raw(cid)}?format=raw",
                headers=headers,
                timeout=urllib3.Timeout(connect=_CONNECT, read=min(self._timeout, _GATEWAY_TIMEOUT)),
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                length = reply.headers.get("Content-Length", "")
                if reply.status != 200 or not length.isdecimal() or int(length) > MAX_BLOCK:
                    raise Away(f"HTTP {reply.status}")
                data = reply.read(int(length))
                if len(data) != int(length) or reply.read(1):
                    raise Away("The reply was cut.")
                verify_block(raw(cid), data)
                return data
            finally:
                reply.close()

    def export(self, root: Cid, limit: int) -> Generator[bytes]:
        """The CAR of the DAG under `root` as it comes, unverified; not tried again, and at most `limit` bytes."""
        with self._reply("dag/export", [str(root)], {"progress": "false"}, None, _BYTES) as reply:
            yield from self._pieces(reply, limit)

    def pins(self) -> set[Cid]:
        """The dag-cbor nodes that are pinned with all below them."""
        # Not streamed: such a reply comes whole or as an error.
        (reply,) = self._json("pin/ls", [], {"type": "recursive", "stream": "false"}, count=1, limit=_PINS)
        keys = reply.get("Keys", {})
        if not isinstance(keys, dict):
            raise self._nonsense("it lists no pins")
        found = set()
        for text in keys:
            try:
                cid = Cid.parse(text)
            except InvalidInput:
                continue  # other people's pins may be of any kind
            if cid.codec == DAG_CBOR:
                found.add(cid)
        return found

    def pin_new(self, cid: Cid, data: Data) -> None:
        """Store a dag-cbor node and pin it with what it links, there or not: garbage collection leaves that alone."""
        form = {"cid-codec": "dag-cbor", "mhtype": "sha2-256", "mhlen": "-1"}
        (reply,) = self._json("block/put", [], form | {"pin": "true", "allow-big-block": "true"}, [data], count=1)
        if reply != {"Key": str(cid), "Size": memoryview(data).nbytes}:
            raise self._nonsense("it acknowledges another block than the one sent")

    def pin(self, cid: Cid) -> None:
        """Pin a node with all below it, which the node reads; `KuboError` if something of it is missing."""
        self._pin_call("pin/add", [cid], {"recursive": "true", "fast-provide-root": "false"})

    def unpin(self, cids: Collection[Cid]) -> None:
        """Take pins away; nothing happens for those that there are not."""
        try:
            self._pin_call("pin/rm", cids, {"recursive": "true"})
        except KuboError as error:
            if not error.means_absent:
                raise
            for cid in cids if len(cids) > 1 else ():  # the node stopped at the first that is not there
                self.unpin([cid])

    def is_pinned(self, cid: Cid) -> bool:
        """Whether a pin holds the node under just this CID."""
        try:
            self._json("pin/ls", [str(cid)], {"type": "all", "stream": "false"}, count=1)
        except KuboError as error:
            if not error.means_absent:
                raise
            return False
        return True

    def remove(self, cids: Sequence[Cid]) -> None:
        """Remove blocks from the node's disk, those that it has and that no pin holds under just these CIDs, which kubo
        looks at while nobody can pin."""
        self._json("block/rm", [str(cid) for cid in cids], {"force": "true", "quiet": "false"})

    def _pin_call(self, path: str, cids: Collection[Cid], options: dict[str, str]) -> None:
        (reply,) = self._json(path, args := [str(cid) for cid in cids], options, count=1)
        if reply.get("Pins") != args:
            raise self._nonsense("it acknowledges another pin than the one asked for")

    # One call.

    def _json(
        self,
        path: str,
        args: Sequence[str],
        options: dict[str, str],
        upload: Sequence[Data] | None = None,
        *,
        count: int | None = None,
        limit: int = _REPLY,
    ) -> list[dict[str, Any]]:
        """The JSON documents of a reply; exactly `count` if given."""

        def ask() -> list[dict[str, Any]]:
            with self._reply(path, args, options, upload, _JSON) as reply:
                body = b"".join(self._pieces(reply, limit))
            try:
                documents = [json.loads(line) for line in body.splitlines() if line.strip()]
            except (ValueError, RecursionError):
                raise self._nonsense("it is no JSON") from None
            if not all(isinstance(item, dict) for item in documents) or count not in (None, len(documents)):
                raise self._nonsense("it has another form")
            return documents

        return self._patiently(ask)

    def _patiently(self, action: Callable[[], _Result]) -> _Result:
        """`action`, again while the node is away, and a few times where it reports an error that may pass."""
        give_up, pause, errors = time.monotonic() + self._patience, 0.05, 0
        enough: threading.Event = getattr(self._thread, "event", self._never)
        while True:
            try:
                return action()
            except Away as error:
                if time.monotonic() + pause >= give_up or enough.is_set():
                    raise self._away(error) from None
            except KuboError as error:
                errors += 1
                if error.means_absent or errors == _TRIES:
                    raise
            enough.wait(pause)
            pause = min(2 * pause, 2.0)

    @contextmanager
    def _reply(
        self,
        path: str,
        args: Sequence[str],
        options: dict[str, str],
        upload: Sequence[Data] | None,
        kinds: tuple[str, ...],
    ) -> Generator[_Reply]:
        body = None if upload is None else Upload(upload)
        with self._translated():
            closables, _ = self._http._request(
                "POST",
                path,
                [*options.items(), *(("arg", arg) for arg in args)],
                auth=None,
                data=body,
                headers=None,
                timeout=(_CONNECT, self._timeout),
                chunk_size=_PIECE,
            )
            reply: _Reply = closables[0]
            try:
                self._check(reply, kinds)
                yield reply
            finally:
                reply.close()

    def _check(self, reply: _Reply, kinds: tuple[str, ...]) -> None:
        """Return if this is the beginning of a good reply."""
        status = reply.status
        if status in (401, 403):
            raise Unavailable(
                f"kubo at {self.address} refuses us (HTTP {status}).",
                hint="Put what its API.Authorizations asks for into the file that ALLOD_KUBO_AUTHORIZATION names.",
            )
        if status in _AWAY:
            raise Away(f"HTTP {status}")
        if reply.header("Content-Encoding", "identity") != "identity":
            raise self._nonsense("it is packed, which was not asked for")
        kind = reply.header("Content-Type")
        if status == 500 and kind.startswith(_JSON):
            raise KuboError(self._said(b"".join(self._pieces(reply, _REPLY))))
        if status == 500:
            raise KuboError("Internal error")
        if status != 200 or not kind.startswith(kinds):
            raise self._nonsense(f"HTTP {status}, {kind[:60]!r}")

    @staticmethod
    def _said(body: bytes) -> str:
        try:
            message = json.loads(body)["Message"]
        except (ValueError, RecursionError, KeyError, TypeError):
            message = "Internal error"
        return printable(str(message))

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Whatever can break on the way, as `Away`."""
        try:
            yield
        except (
            exceptions.CommunicationError,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
        ) as error:
            raise Away(type(error).__name__) from None

    def _pieces(self, reply: _Reply, limit: int) -> Iterator[bytes]:
        """The body as it comes; `Away` if it is cut or takes too long, `KuboError` if the trailer names one."""
        original: Any = cast(Any, reply.raw)._original_response
        chunked = bool(original.chunked)
        late = time.monotonic() + max(self._timeout, self._patience)
        length = 0
        for piece in read_chunks(original) if chunked else iter(lambda: reply.raw.read(_PIECE), b""):
            length += len(piece)
            if length > limit:
                raise self._nonsense("it is longer than what was asked for can be")
            if time.monotonic() > late:
                raise Away("It takes too long.")
            yield piece
        if chunked:
            original.close()
            reply.raw.release_conn()  # for the next call

    def _nonsense(self, why: str) -> Unavailable:
        return Unavailable(
            f"What answers at {self.address} is not kubo's RPC as we know it: {why}.",
            hint="Check ALLOD_KUBO; it is the address in kubo's Addresses.API.",
        )

    def _away(self, why: Exception) -> Unavailable:
        return Unavailable(
            f"kubo at {self.address} does not answer ({why}); it was tried for {self._patience:.0f} s.",
            hint="Start it (`ipfs daemon`) and do it again, or correct ALLOD_KUBO. Nothing that was stored is lost.",
        )
