"""A stand-in for kubo's RPC on loopback that keeps blocks in memory and, on command, misbehaves.

`node.script(path, fault, times)` plays `fault` at the next calls of `path`; a fault is a function of the handler, and
returns whether the call then goes on as if nothing had been.
"""

from __future__ import annotations

import gzip
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core.encoding import Link, decode_cbor
from vault.car import Car, write_car
from vault.cid import DAG_CBOR, RAW, Cid

JSON = "application/json"
BLOCK = "application/vnd.ipld.raw"


class StandIn:
    """One node: `address` for the store, and what it holds."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.pins: set[Cid] = set()
        self.calls: list[str] = []
        self.version = "0.43.0"
        self.gateway: object = "/ip4/127.0.0.1/tcp/0"
        self.closing = threading.Event()
        self._faults: dict[str, list[tuple[Fault, float]]] = {}
        self._lock = threading.Lock()
        node = self

        class Handler(_Handler):
            pass

        Handler.node = node
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"/ip4/127.0.0.1/tcp/{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, path: str, fault: Fault, times: float = float("inf")) -> None:
        with self._lock:
            self._faults.setdefault(path, []).append((fault, times))

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def fault_at(self, path: str) -> Fault | None:
        with self._lock:
            left = self._faults.get(path)
            if not left:
                return None
            fault, times = left[0]
            if times > 1:
                left[0] = (fault, times - 1)
            else:
                left.pop(0)
            return fault

    def below(self, root: Cid, *, look: bool = True) -> Iterator[bytes]:
        """The digests of the root and of what it links; KeyError if something is missing, unless one does not `look`
        for leaves, as kubo does not when it collects garbage."""
        yield root.digest
        if root.codec == RAW and not look:
            return
        data = self.blocks[root.digest]
        if root.codec == DAG_CBOR:
            for members in decode_cbor(data).values():
                for link in members if isinstance(members, list) else ():
                    assert isinstance(link, Link)
                    yield from self.below(Cid.parse(link.cid), look=look)

    def pinned(self) -> set[bytes]:
        pins = [root for root in self.pins if root.digest in self.blocks]
        return {digest for root in pins for digest in self.below(root, look=False)}

    def held(self) -> set[Cid]:
        """What is pinned and what those nodes link, under just the CIDs that say so: kubo does not remove these."""
        held = set(self.pins)
        for root in self.pins:
            if root.codec == DAG_CBOR and root.digest in self.blocks:
                for members in decode_cbor(self.blocks[root.digest]).values():
                    held |= {Cid.parse(link.cid) for link in (members if isinstance(members, list) else ())}
        return held

    def collect_garbage(self) -> None:
        kept = self.pinned()
        self.blocks = {digest: data for digest, data in self.blocks.items() if digest in kept}


class _Handler(BaseHTTPRequestHandler):
    node: StandIn
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # replies are of several pieces, for each of which the client would be waited for

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        """The gateway, which is on another port of a real node."""
        self.node.calls.append("GET")
        path = urlsplit(self.path).path.removeprefix("/ipfs/")
        self.args, fault = [Cid.parse(path)], self.node.fault_at("gateway")
        with suppress(OSError):
            if fault is None or fault(self):
                data = self.node.blocks.get(self.args[0].digest)
                self.reply(412 if data is None else 200, data or b"", BLOCK)

    def config(self) -> None:
        self.say({"Key": "Addresses.Gateway", "Value": self.node.gateway})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/api/v0/")
        self.options = parse_qs(urlsplit(self.path).query)
        self.args = [Cid.parse(arg) for arg in self.options.get("arg", []) if path != "config"]
        self.node.calls.append(path)
        with suppress(OSError):
            fault = self.node.fault_at(path)
            if fault is None or fault(self):
                getattr(self, path.replace("/", "_"))()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, status: int, body: bytes, kind: str = JSON, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def chunked(self, pieces: Iterator[bytes] | list[bytes], kind: str, trailer: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Trailer", "X-Stream-Error")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n" + trailer.encode() + b"\r\n")

    def say(self, document: dict[str, Any]) -> None:
        self.chunked([json.dumps(document).encode() + b"\n"], JSON)

    def fail(self, message: str) -> None:
        self.reply(500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode())

    # What kubo does.

    def version(self) -> None:
        self.say({"Version": self.node.version})

    def dag_import(self) -> None:
        form = self.body()
        start, end = form.index(b"\r\n\r\n") + 4, form.rindex(b"\r\n--")
        blocks = dict(Car.read(io.BytesIO(form[start:end])).blocks)
        assert all(cid.codec == RAW for cid in blocks)
        assert self.options["pin-roots"] == ["false"]
        self.node.blocks.update({cid.digest: data for cid, data in blocks.items()})
        self.acknowledge(blocks)

    def acknowledge(self, blocks: dict[Cid, bytes], missing: int = 0) -> None:
        size = sum(map(len, blocks.values()))
        self.say({"Stats": {"BlockCount": len(blocks) - missing, "BlockBytesCount": size}})

    def block_put(self) -> None:
        form = self.body()
        data = form[form.index(b"\r\n\r\n") + 4 : form.rindex(b"\r\n--")]
        assert self.options["cid-codec"] == ["dag-cbor"]
        assert self.options["mhtype"] == ["sha2-256"]
        cid = Cid.of(DAG_CBOR, data)
        self.node.blocks[cid.digest] = data
        if self.options["pin"] == ["true"]:
            self.node.pins.add(cid)
        self.say({"Key": str(cid), "Size": len(data)})

    def block_get(self) -> None:
        data = self.node.blocks.get(self.args[0].digest)
        if data is None:
            self.fail(f"block was not found locally (offline): ipld: could not find {self.args[0]}")
        else:
            self.chunked([data[at : at + 4096] for at in range(0, len(data), 4096)], BLOCK)

    def dag_export(self) -> None:
        root = self.args[0]
        links = [
            Cid.parse(link.cid)
            for members in decode_cbor(self.node.blocks[root.digest]).values()
            for link in (members if isinstance(members, list) else ())
        ]
        out = io.BytesIO()
        write_car(out, [root], ((cid, self.node.blocks[cid.digest]) for cid in dict.fromkeys([root, *links])))
        self.chunked([out.getvalue()[at : at + 4096] for at in range(0, out.tell(), 4096)], "application/vnd.ipld.car")

    def pin_ls(self) -> None:
        if self.args and self.args[0] in self.node.held():
            self.say({"Keys": {str(self.args[0]): {"Type": "recursive", "Name": ""}}})
        elif self.args:
            self.fail(f"path '{self.args[0]}' is not pinned")
        else:
            self.say({"Keys": {str(cid): {"Type": "recursive", "Name": ""} for cid in self.node.pins}})

    def pin_add(self) -> None:
        self.node.pins.discard(self.args[0])  # until it has looked
        try:
            list(self.node.below(self.args[0]))
        except KeyError:
            self.fail("pin: block was not found locally (offline)")
            return
        self.node.pins.add(self.args[0])
        self.say({"Pins": [str(cid) for cid in self.args]})

    def pin_rm(self) -> None:
        for cid in self.args:
            if cid not in self.node.pins:
                self.fail("not pinned or pinned indirectly")
                return
            self.node.pins.discard(cid)
        self.say({"Pins": [str(cid) for cid in self.args]})

    def block_rm(self) -> None:
        for cid in self.args:
            if cid not in self.node.held():
                self.node.blocks.pop(cid.digest, None)
        self.say({"Hash": str(self.args[0])})


Fault = Callable[[Any], bool]


def hangs(call: _Handler) -> bool:
    call.node.closing.wait()
    call.close_connection = True
    return False


def hangs_half_way(call: _Handler) -> bool:
    call.body()
    call.send_response(200)
    call.send_header("Content-Type", JSON if "block/get" not in call.path else BLOCK)
    call.send_header("Transfer-Encoding", "chunked")
    call.end_headers()
    call.wfile.write(b"5\r\nhello\r\n")
    return hangs(call)


def drops_the_line(call: _Handler) -> bool:
    """Dies half-way through what it is sent."""
    call.rfile.read(min(1000, int(call.headers.get("Content-Length", 0))))
    return hangs_up(call)


def hangs_up(call: _Handler) -> bool:
    call.close_connection = True
    with suppress(OSError):
        call.connection.shutdown(socket.SHUT_RDWR)
    return False


def cuts_the_reply(call: _Handler) -> bool:
    call.body()
    call.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nhalf" % _kind(call)
    )
    return hangs_up(call)


def cuts_with_a_trailer(call: _Handler) -> bool:
    """As kubo does when it breaks after the status was sent: a reply that looks whole, and a word behind it."""
    call.body()
    call.chunked([b"hello"], _kind(call).decode(), "X-Stream-Error: disk on fire\r\n")
    return False


def says_500(call: _Handler) -> bool:
    call.body()
    call.fail("context deadline exceeded")
    return False


def says_500_without_words(call: _Handler) -> bool:
    call.body()
    call.reply(500, b"<html>", "text/html")
    return False


def says_503(call: _Handler) -> bool:
    call.body()
    call.reply(503, b"busy", "text/plain")
    return False


def says_403(call: _Handler) -> bool:
    call.body()
    call.reply(403, b"no", "text/plain")
    return False


def says_404(call: _Handler) -> bool:
    call.body()
    call.reply(404, b"404 page not found", "text/plain")
    return False


def answers_web_pages(call: _Handler) -> bool:
    call.body()
    call.reply(200, b"<html>Please log in</html>", "text/html")
    return False


def answers_garbage(call: _Handler) -> bool:
    call.body()
    call.reply(200, b'{"Keys": {"bafy', _kind(call).decode())
    return False


def answers_other_json(call: _Handler) -> bool:
    call.body()
    call.reply(200, b'{"Keys": [1], "Pins": 7, "Stats": null, "Version": 43}\n', _kind(call).decode())
    return False


def answers_nothing(call: _Handler) -> bool:
    call.body()
    call.reply(200, b"", _kind(call).decode())
    return False


def answers_packed(call: _Handler) -> bool:
    call.body()
    call.reply(200, gzip.compress(bytes(64 << 20)), _kind(call).decode(), Content_Encoding="gzip")
    return False


def answers_without_end(call: _Handler) -> bool:
    call.body()
    with suppress(OSError):
        call.chunked(iter(lambda: bytes(4096), None), _kind(call).decode())  # type: ignore[arg-type]
    call.close_connection = True
    return False


def answers_one_endless_chunk(call: _Handler) -> bool:
    call.body()
    call.wfile.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n" % _kind(call)
    )
    with suppress(OSError):
        while not call.node.closing.is_set():
            call.wfile.write(bytes(4096))
    call.close_connection = True
    return False


def promises_a_gigabyte(call: _Handler) -> bool:
    call.body()
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 1073741824\r\n\r\n" % _kind(call))
    with suppress(OSError):
        while not call.node.closing.is_set():
            call.wfile.write(bytes(4096))
    call.close_connection = True
    return False


def drips(call: _Handler) -> bool:
    call.body()
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % _kind(call))
    with suppress(OSError):
        while not call.node.closing.wait(0.02):
            call.wfile.write(b"1\r\n \r\n")
    call.close_connection = True
    return False


def redirects_to(address: str) -> Fault:
    def redirect(call: _Handler) -> bool:
        call.body()
        call.reply(307, b"", "text/plain", Location=f"{address}{call.path}")
        return False

    return redirect


def serves_another_block(call: _Handler) -> bool:
    call.chunked([b"another block"], BLOCK)
    return False


def forgets_what_it_acknowledges(call: _Handler) -> bool:
    """It says that it imported, and did not."""
    before = dict(call.node.blocks)
    call.dag_import()
    call.node.blocks = before
    return False


def acknowledges_fewer(call: _Handler) -> bool:
    form = call.body()
    blocks = dict(Car.read(io.BytesIO(form[form.index(b"\r\n\r\n") + 4 : form.rindex(b"\r\n--")])).blocks)
    call.acknowledge(blocks, missing=1)
    return False


def pins_without_looking(call: _Handler) -> bool:
    call.node.pins.add(call.args[-1])
    call.say({"Pins": [str(cid) for cid in call.args]})
    return False


def acknowledges_another_pin(call: _Handler) -> bool:
    call.body()
    call.say({"Pins": [str(Cid.of(RAW, b"another"))], "Key": str(Cid.of(DAG_CBOR, b"another")), "Size": 7})
    return False


def _kind(call: _Handler) -> bytes:
    return BLOCK.encode() if "block/get" in call.path else JSON.encode()


@contextmanager
def stand_in() -> Iterator[StandIn]:
    node = StandIn()
    try:
        yield node
    finally:
        node.close()
