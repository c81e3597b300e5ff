"""One vault, two programs: what the page seals Python and Tink open, and what Python seals the page opens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from consent.market.publication import Publication, asset_of
from core.ids import Address, Asset, ObjectId, VaultId
from tests.vault.test_payload import Open, tink_primitive
from tests.web.home import Home, at_home, content
from vault.cid import Cid
from vault.hpke import hpke_generate
from vault.keys import KeyFile, Stretch
from vault.rootkey import RootKey
from vault.segments import FIRST, REST, associated_data
from vault.sharetable import ShareRow
from vault.sharing import Scope, open_share, recover_dek
from vault.unixfs import leaf_cids
from vault.vault import Vault

pytestmark = pytest.mark.needs_browser

ROOT = bytes(range(1, 33))
VAULT = VaultId(hashlib.sha256(b"a vault of two programs").digest())
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + REST, FIRST + REST + 1, FIRST + 5 * REST + 12345]


@pytest.fixture
def home() -> Iterator[Home]:
    with at_home() as found:
        yield found


@pytest.fixture
def page(context: BrowserContext, home: Home) -> Page:
    return visit(context, home)


def visit(context: BrowserContext, home: Home) -> Page:
    """A tab with the vault in it."""
    page = context.new_page()
    page.goto(f"{home.url}/vectors.html")
    page.wait_for_function("window.lab !== undefined")
    return page


def do(page: Page, deed: str, *arguments: Any) -> Any:
    """One deed of the page's vault."""
    return page.evaluate("([deed, given]) => lab[deed](...given)", [deed, list(arguments)])


def place(home: Home, root: bytes = ROOT, vault_id: bytes = VAULT) -> dict[str, str]:
    return {"base": f"{home.url}/home", "root": "0x" + root.hex(), "vault": "0x" + vault_id.hex()}


def in_python(home: Home) -> Vault:
    return Vault(RootKey(ROOT), VAULT, home.blocks)


def committed(home: Home, vault: Vault) -> Vault:
    """What the home shows the page is what Python wrote."""
    home.head = vault.head_cid
    return vault


def test_what_the_page_seals_python_and_tink_open(page: Page, home: Home) -> None:
    for number, size in enumerate(EDGES):
        data = content(size, number)
        object_id = ObjectId(
            bytes.fromhex(do(page, "add", place(home), {"name": f"{size}.bin", "size": size, "seed": number})[2:])
        )
        vault = in_python(home)
        entry = vault.entry(object_id)
        assert (entry.name, entry.size) == (f"{size}.bin", size)
        assert b"".join(vault.open(object_id)) == data
        manifest = vault.manifest(object_id)
        leaves = leaf_cids(manifest.payload, home.blocks, manifest.size)
        sealed = b"".join(home.blocks.get(cid) for cid in leaves)
        place_of = associated_data(VAULT, object_id)
        opened = tink_primitive(vault.dek(object_id)).new_decrypting_stream(Open(sealed), place_of)
        assert opened.read() == data
    assert vault.sequence == len(EDGES)
    assert [entry["size"] for entry in do(page, "entries", place(home))] == EDGES


def test_records_are_counted_as_python_counts_them(page: Page, home: Home) -> None:
    lines = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    files = {
        "talk.jsonl": lines * 3 + "{broken\n",
        "notes.md": "# One\n\ntext\n\nmore text",
        "empty.txt": "",
        "café ☕.txt": "x\n\n" * 70000,
    }
    for name, text in files.items():
        do(page, "add", place(home), {"name": name, "text": text})
    theirs = [
        (e["name"], e["mediaType"], e["size"], e["records"], e["broken"]) for e in do(page, "entries", place(home))
    ]
    ours = Vault(RootKey(bytes(32)), VAULT, type(home.blocks)())
    for name, text in files.items():
        ours.add_bytes(name, text.encode())
    assert theirs == [(e.name, e.media_type, e.size, e.records, e.broken) for e in ours.entries()]


def test_what_python_seals_the_page_opens(page: Page, home: Home) -> None:
    vault = in_python(home)
    for number, size in enumerate(EDGES):
        vault.add_bytes(f"{size}.bin", content(size, number), notes="from Python")
    vault.save_record("terms", {"terms": b"{}", "number": 2**60, "yes": True})
    header, _ = vault.build_dataset([vault.entries()[1].object_id], {"title": "One"})
    committed(home, vault)
    found = do(page, "entries", place(home))
    assert [(entry["name"], entry["size"], entry["notes"]) for entry in found] == [
        (f"{size}.bin", size, "from Python") for size in EDGES
    ]
    assert [len(entry["datasets"]) for entry in found] == [0, 1, *[0] * (len(EDGES) - 2)]
    for number, entry in enumerate(found):
        data = content(EDGES[number], number)
        expected = {"sha256": "0x" + hashlib.sha256(data).hexdigest(), "length": len(data), "failure": "nothing"}
        assert do(page, "open", place(home), entry["objectId"]) == expected
    assert do(page, "remove", place(home), found[1]["objectId"]) == "conflict"
    assert do(page, "remove", place(home), found[0]["objectId"]) == "nothing"
    card = home.blocks.get(header.card)
    home.blocks.delete(header.card)  # what a dataset holds cannot be told any more
    assert do(page, "remove", place(home), found[1]["objectId"]) == "conflict"
    assert do(page, "unreadable", place(home)) == 1
    home.blocks.put(header.card, card)
    assert do(page, "remove", place(home), found[1]["objectId"], True) == "nothing"
    again = in_python(home)
    assert [entry.size for entry in again.entries()] == EDGES[2:]
    assert again.datasets() == [header]
    assert again.records("terms") == [{"terms": b"{}", "number": 2**60, "yes": True}]


def test_the_words_and_the_key_file_work_in_both(page: Page, home: Home) -> None:
    made = do(page, "create", f"{home.url}/home", "cafe\u0301 am see")
    file = KeyFile.decode(made["file"].encode())
    root = file.unlock("caf\u00e9 am see")
    assert root == RootKey.from_words(made["words"])
    vault = Vault.restore(made["words"], home.blocks)
    assert vault.vault_id == file.vault_id
    assert vault.records("greeting") == [{"text": "begun"}]
    ours = KeyFile.create(RootKey(ROOT), "of python", address=Address(bytes(20)), cost=Stretch(n=1 << 10))
    assert do(page, "unlock", ours.encode().decode(), "of python") == "0x" + ROOT.hex()


def test_ten_tabs_that_write_at_once_all_get_in(page: Page, home: Home) -> None:
    do(page, "save", place(home), "race", [{"number": "first"}])
    assert do(page, "race", place(home), 10) == ["nothing"] * 10
    vault = in_python(home)
    assert sorted(map(str, (record["number"] for record in vault.records("race")))) == [*map(str, range(10)), "first"]
    assert vault.sequence == 11


def test_a_commit_whose_answer_is_lost_is_not_repeated(page: Page, home: Home) -> None:
    do(page, "save", place(home), "kept", [{"a": "1"}])
    home.lose_answer = True
    with pytest.raises(Exception, match="503"):
        do(page, "save", place(home), "kept", [{"a": "2"}])
    do(page, "save", place(home), "kept", [{"a": "2"}, {"a": "3"}])
    assert in_python(home).records("kept") == [{"a": "1"}, {"a": "2"}, {"a": "3"}]


def test_an_older_copy_or_a_foreign_head_is_no_vault(page: Page, home: Home) -> None:
    do(page, "save", place(home), "kept", [{"a": "1"}, {"a": "2"}])
    assert do(page, "openSlug", place(home), 2) == "nothing"
    assert do(page, "openSlug", place(home), 3) == "conflict"
    assert do(page, "openSlug", place(home, root=bytes(32)), 0) == "conflict"
    assert do(page, "openSlug", place(home, vault_id=bytes(32)), 0) == "conflict"
    newest, home.head = home.head, None
    assert do(page, "openSlug", place(home), 1) == "conflict"
    home.head = newest
    home.fault = lambda method, path, _body: 503 if path.startswith("blocks/") else None
    assert do(page, "openSlug", place(home), 0) == "unavailable"


def test_damaged_and_missing_blocks_release_nothing_false(page: Page, home: Home) -> None:
    data = content(FIRST + 2 * REST + 5, 3)
    vault = in_python(home)
    entry = vault.add_bytes("a.bin", data)
    other = vault.add_bytes("b.bin", b"b")
    committed(home, vault)
    manifest = vault.manifest(entry.object_id)
    leaves = leaf_cids(manifest.payload, home.blocks, manifest.size)
    answers: dict[str, bytes] = {}
    get = home.blocks.get
    home.blocks.get = lambda cid: answers.get(str(cid)) or get(cid)  # type: ignore[method-assign]

    def opened() -> dict[str, Any]:
        return dict(do(page, "open", place(home), "0x" + entry.object_id.hex()))

    for number, leaf in enumerate(leaves):
        answers[str(leaf)] = get(leaf)[:-1] + bytes((get(leaf)[-1] ^ 1,))
        released = data[: FIRST + (number - 1) * REST] if number else b""
        found = opened()
        assert found["failure"] == "corrupted"
        assert found["sha256"] == "0x" + hashlib.sha256(released[: found["length"]]).hexdigest()
        answers.clear()
    answers[str(leaves[1])] = get(leaves[2])
    assert opened()["failure"] == "corrupted"
    answers = {str(manifest.payload): get(leaves[0])}
    assert opened() == {"sha256": "0x" + hashlib.sha256(b"").hexdigest(), "length": 0, "failure": "corrupted"}
    answers.clear()
    home.blocks.delete(leaves[1])
    assert opened()["failure"] == "not-found"
    home.blocks.delete(entry.manifest)
    assert [found["name"] for found in do(page, "entries", place(home))] == ["b.bin"]
    assert do(page, "unreadable", place(home)) == 1
    assert opened_slug(page, home, other.object_id) == "nothing"


def opened_slug(page: Page, home: Home, object_id: ObjectId) -> str:
    return str(do(page, "open", place(home), "0x" + object_id.hex())["failure"])


def test_a_publication_of_the_page_is_one_for_keepers_and_runner(page: Page, home: Home) -> None:
    ids = [do(page, "add", place(home), {"name": f"{n}.txt", "text": f"text {n}"}) for n in range(3)]
    owner, token = Address(b"\x07" * 20), Address(b"\x08" * 20)
    card = {"title": "Notes of a small life"}
    keys = [hpke_generate() for _ in range(3)]
    committee = {"id": "0x" + "cc" * 32, "t": 2, "keys": ["0x" + public.hex() for _, public in keys]}
    scope = {"chainId": 31337, "token": "0x" + token.hex(), "owner": "0x" + owner.hex()}
    built = do(page, "publish", place(home), ids, card, "", scope, "", committee)
    vault = in_python(home)
    (header,) = vault.datasets()
    assert built["digest"] == "0x" + header.cid.digest.hex()
    asset = Asset(asset_of(owner, header.encode()))
    done = do(page, "publish", place(home), ids[::-1], card, "{}", scope, "0x" + asset.hex(), committee)
    assert done["digest"] == built["digest"]
    assert len(in_python(home).datasets()) == 1
    ours, _ = in_python(home).build_dataset([ObjectId(bytes.fromhex(text[2:])) for text in ids], card)
    assert ours == header
    publication = Publication.load(home.blocks, Cid.parse(done["publication"]))
    assert publication.terms_bytes == b"{}"
    head = publication.shares.check(publication.header.manifest_pk)
    assert (head.asset, head.t, head.n, head.rows, head.committee_id) == (asset, 2, 3, 3, b"\xcc" * 32)
    whose = Scope(31337, token, owner, asset, VAULT)
    for text in ids:
        object_id = ObjectId(bytes.fromhex(text[2:]))
        row = publication.shares.row(object_id)[0]
        decoded = ShareRow.decode(row)
        shares = [open_share(private, i, whose, head, decoded) for i, (private, _) in enumerate(keys, 1)]
        commit = vault.manifest(object_id).dek_commit
        for chosen in (shares[:2], shares[1:], shares[::2]):
            assert recover_dek(chosen, 2, commit, VAULT, object_id) == vault.dek(object_id)


def test_what_the_page_sends_tells_nothing(page: Page, home: Home) -> None:
    """No name, no text, no key in what leaves the page."""
    seen: list[bytes] = []
    home.fault = lambda _method, path, body: seen.append(path.encode() + body)
    do(page, "add", place(home), {"name": "canary name.txt", "text": "canary text " * 9})
    do(page, "save", place(home), "canary kind", [{"canary": "canary value"}])
    everything = b"".join(seen)
    assert len(everything) > 500
    for secret in (b"canary", ROOT, json.dumps("canary").encode(), RootKey(ROOT).derive("allod/manifest-sign/v1")):
        assert secret not in everything
