"""A stage for the page: the built files, a device with or without a vault, and an API that answers as a test wants it.

The vault is a real one, made by `vault` in memory and read by the page's own library; the other answers are documents
(tests/web/answers.py). Where a screen's whole way through a real server matters, tests/web has stories of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Page, Route

from consent.chain.account import Account
from consent.market.publication import asset_of
from consent.terms import Terms
from core.encoding import to_hex
from core.ids import VaultId
from tests.web import answers
from tests.web.serving import CSP, STATIC
from vault.blocks import MemoryBlocks
from vault.car import Car
from vault.cid import RAW, Cid
from vault.keys import KeyFile, Stretch
from vault.rootkey import RootKey
from vault.vault import Vault

PASSPHRASE = "four words or more please"
TOKEN = "ab" * 32
KEEP = """
([bytes, pins, sequence]) => new Promise((resolve, reject) => {
  const request = indexedDB.open("allod", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("device");
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    const database = request.result;
    const change = database.transaction("device", "readwrite");
    change.objectStore("device").put({ keyFile: new Uint8Array(bytes), pins, sequence }, "owner");
    change.oncomplete = () => { database.close(); resolve(null); };
    change.onabort = () => reject(change.error);
  };
})
"""


KEPT = """
() => new Promise((resolve, reject) => {
  const request = indexedDB.open("allod", 1);
  request.onerror = () => reject(request.error);
  request.onsuccess = () => {
    const database = request.result;
    const found = database.transaction("device").objectStore("device").get("owner");
    found.onsuccess = () => {
      database.close();
      const kept = found.result;
      resolve(kept === undefined ? null : { ...kept, keyFile: new TextDecoder().decode(kept.keyFile) });
    };
  };
})
"""


def pins() -> str:
    """What a device that accepted `answers.WORLD` keeps of it."""
    contracts, money = answers.WORLD["contracts"], answers.WORLD["currency"]
    names = [contracts[name] for name in ("registry", "consent_token", "escrow")]
    keepers = answers.WORLD["committee"]["hash"]
    parts = [answers.WORLD["chain_id"], *names, keepers, contracts["currency"], money["symbol"], money["unit_decimals"]]
    return " ".join(str(part) for part in parts)


class Device:
    """An owner with a vault in memory, and the key file that a browser keeps of it (scrypt at its cheapest)."""

    def __init__(self, name: str, files: dict[str, bytes], *, publish: int = 0) -> None:
        """`publish` is how many of the files make a dataset, which has the consents of `answers`."""
        self.root = RootKey(sha256(name.encode()).digest())
        self.account = Account(self.root.evm_key())
        self.vault_id = VaultId(sha256(f"vault of {name}".encode()).digest())
        self.blocks = MemoryBlocks()
        self.vault = Vault(self.root, self.vault_id, self.blocks)
        self.objects = {file: self.vault.add_bytes(file, data).object_id for file, data in files.items()}
        self.titles: dict[str, str] = {}
        self.asset = answers.bytes32("asset")
        if publish:
            self.asset = self.publish("Ada's notebook", *list(files)[:publish])
            for row in answers.consents(self.address, self.asset):
                self.sign(row["consent"])
        cost = Stretch(n=1 << 10)
        address = self.account.address
        made = KeyFile.create(self.root, PASSPHRASE, vault_id=self.vault_id, address=address, cost=cost)
        self.key_file = made.encode()

    @property
    def address(self) -> str:
        """Its account."""
        return to_hex(self.account.address)

    def publish(self, title: str, *files: str, under: Terms | None = None) -> str:
        """Put these files up as a dataset; once more under other terms adds those. Its asset."""
        card = {"title": title, "description": "", "schema": [], "sample": ""}
        header, _ = self.vault.build_dataset([self.objects[file] for file in files], card)
        asset = asset_of(self.account.address, header.encode())
        terms = (under or answers.terms(self.address)).encode()
        link = self.blocks.add(RAW, terms).link
        self.vault.save_record("dataset", {"asset": asset, "publication": link, "terms": terms, "committee": bytes(32)})
        self.titles[to_hex(asset)] = title
        return to_hex(asset)

    def sign(self, consent: dict[str, Any]) -> None:
        """Keep a consent as the page and the command line keep those that were signed."""
        record = {"consent": answers.signed(consent).encode(), "signature": b"\x22" * 65}
        self.vault.save_record("consent", record)

    def take(self, car: bytes) -> None:
        """Keep the blocks of an archive."""
        self.blocks.put_many(Car.read(BytesIO(car)).blocks)

    def document(self) -> dict[str, Any] | None:
        """The vault as the server describes it: at the head that was committed last, by whoever did."""
        self.vault.refresh()
        head = self.vault.head_cid
        if head is None:
            return None
        known = list(self.blocks.cids())
        return {
            "vault_id": to_hex(self.vault_id),
            "manifest_pk": to_hex(self.vault.manifest_pk),
            "head": str(head),
            "sequence": self.vault.sequence,
            "blocks": len(known),
            "bytes": sum(len(self.blocks.get(cid)) for cid in known),
        }


@dataclass
class Stage:
    """One browser context with the page in it; `state` is what the API does from now on."""

    context: BrowserContext
    url: str
    device: Device | None = None
    state: str = "full"
    answers: dict[str, Callable[[dict[str, list[str]]], Any]] = field(default_factory=dict)
    _waiting: list[Route] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.route(lambda url: url.startswith(self.url) and not _is_file(url), self._serve)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._console)

    def _console(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def become(self, state: str) -> None:
        """From now on the API is `full`, `empty`, `loading` (it never answers), `error` or `offline`."""
        self.state = state
        waiting, self._waiting = self._waiting, []
        for route in waiting:
            route.abort()

    def open(self, path: str) -> Page:
        """Load the page anew at `path`."""
        self.page.goto(self.url + path)
        return self.page

    def keep_device(self, *, accepted: str | None = None, sequence: int = 0, key_file: bytes | None = None) -> None:
        """Put the device's key file where the page keeps it, with what was accepted and seen there before."""
        assert self.device is not None
        self.page.goto(self.url + "/verify")
        self.page.evaluate(KEEP, [list(key_file or self.device.key_file), accepted or pins(), sequence])

    def kept(self) -> dict[str, Any] | None:
        """What the browser keeps; the key file as text."""
        found: dict[str, Any] | None = self.page.evaluate(KEPT)
        return found

    def unlock(self, path: str = "/settings") -> Page:
        """Load the page at `path` and open the vault."""
        self.keep_device()
        self.open(path)
        self.page.get_by_label("Passphrase").fill(PASSPHRASE)
        self.page.get_by_role("button", name="Unlock").click()
        self.page.get_by_role("button", name="Lock", exact=True).wait_for()
        return self.page

    def go(self, path: str) -> Page:
        """Change the screen without loading the page anew, from a screen that asks nothing."""
        move = "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')); }"
        self.page.evaluate(move, "/nowhere")
        self.page.get_by_role("heading", name="Nothing is here").wait_for()
        self.page.evaluate(move, path)
        return self.page

    # The two halves of what is behind the URL.

    def _serve(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.path.startswith("/v1/") or url.path in ("/livez", "/readyz"):
            self._answer(route, url.path, parse_qs(url.query))
            return
        policy = {"content-security-policy": CSP, "content-type": "text/html"}
        route.fulfill(path=STATIC / "index.html", headers=policy)

    def _answer(self, route: Route, path: str, query: dict[str, list[str]]) -> None:
        method = route.request.method
        always = path.startswith("/v1/sessions") or path == "/v1/nonces"
        if self.state == "offline":
            route.abort("connectionrefused")
        elif self.state == "loading" and not always:
            self._waiting.append(route)
        elif self.state == "error" and not always:
            _problem(route, 503, "unavailable", "The chain does not answer.", "Try again in a minute.")
        else:
            self._find(route, method, path, query)

    def _find(self, route: Route, method: str, path: str, query: dict[str, list[str]]) -> None:
        for start, answer in self.answers.items():
            if f"{method} {path}".startswith(start):
                found = answer(query)
                route.fulfill(status=200 if method == "GET" else 202, json=found)
                return
        if path.startswith("/v1/blocks/") and method == "GET":
            assert self.device is not None
            route.fulfill(
                body=self.device.blocks.get(Cid.parse(path.rsplit("/", 1)[1])), content_type="application/octet-stream"
            )
            return
        found = self._kept(route, method, path) or self._usual(method, path)
        if found is None:
            _problem(route, 404, "not-found", "There is nothing here.", "Check the address.")
        elif found == "":
            route.fulfill(status=204)
        else:
            route.fulfill(json=found)

    def _kept(self, route: Route, method: str, path: str) -> Any:
        """What an upload asks and sends."""
        if self.device is None or method == "GET":
            return None
        if path == "/v1/blocks/missing":
            wanted = [Cid.parse(cid) for cid in route.request.post_data_json["cids"]]
            return {"missing": [str(cid) for cid in self.device.blocks.missing(wanted)]}
        if path == "/v1/blocks":
            self.device.take(route.request.post_data_buffer or b"")
            return {"stored": 1, "known": 0, "bytes": 0}
        return None

    def _usual(self, method: str, path: str) -> Any:
        device = self.device
        if path == "/livez":
            return {"status": "ok"}
        if path == "/v1/world":
            return answers.WORLD
        if path.startswith("/v1/verifications/"):
            return answers.verification(path.rsplit("/", 1)[1])
        if path == "/v1/nonces":
            return {"nonce": "n" * 24, "expires_at": answers.LATER}
        if device is None:
            return None
        if path.startswith("/v1/sessions"):
            if method == "DELETE":
                return ""
            return {"account": device.address, "csrf_token": TOKEN, "expires_at": answers.LATER}
        if path == "/v1/vaults/mine":
            return device.document()
        return self._listed(path, device, is_empty=self.state == "empty")

    def _listed(self, path: str, device: Device, *, is_empty: bool) -> Any:
        owner = device.address
        offered = {device.asset: ["academic-research"]}
        details = {
            asset: answers.dataset(owner, asset, title, offered=offered.get(asset, []))
            for asset, title in device.titles.items()
        }
        if path.startswith("/v1/datasets/"):
            return details.get(path.rsplit("/", 1)[1])
        if path == "/v1/activity/stream":
            return answers.page([])
        lists: dict[str, Callable[[], list[Any]]] = {
            "/v1/datasets": lambda: list(details.values()),
            "/v1/requests": lambda: answers.requests(owner, device.asset),
            "/v1/consents": lambda: answers.consents(owner, device.asset)[::-1],
            "/v1/activity": answers.activity,
            "/v1/operations": list,
        }
        if path == "/v1/earnings":
            nothing = {"in_escrow": "0", "claimable": "0", "paid": "0"}
            return answers.page([]) | {"totals": nothing} if is_empty else answers.earnings(device.asset)
        if path in lists:
            return answers.page([] if is_empty else lists[path]())
        return None


def _is_file(url: str) -> bool:
    path = urlsplit(url).path
    return path.startswith("/assets/") and (STATIC / path[1:]).is_file()


def _problem(route: Route, status: int, slug: str, title: str, hint: str) -> None:
    document = {
        "type": f"urn:allod:problem:{slug}",
        "title": title,
        "status": status,
        "hint": hint,
        "trace_id": "0a1b2c3d4e5f",
    }
    route.fulfill(status=status, body=json.dumps(document), content_type="application/problem+json")
