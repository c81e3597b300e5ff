"""Publishing: an owner without gas puts a dataset up, only an accepted committee gets shares, foreign blocks fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.deployment import deploy
from consent.chain.embedded import EmbeddedChain, developer
from consent.committee import Committee, Member
from consent.market.place import Market, Relayer
from consent.market.publication import Publication, asset_of
from consent.market.publish import publish
from consent.terms import Terms
from core.errors import Corrupted, InvalidInput, Refused
from core.ids import Asset, VaultId
from vault.blocks import MemoryBlocks
from vault.cid import DAG_CBOR, RAW, Cid
from vault.hpke import hpke_generate
from vault.manifest import digest
from vault.rootkey import RootKey
from vault.sharetable import verify_row
from vault.sharing import Scope, open_share, recover_dek
from vault.vault import Vault

CARD = {"title": "Mill notes", "description": "Fictional", "schema": "text", "sample": "The mill turns."}


@dataclass
class Town:
    market: Market
    relayer: Relayer
    committee: Committee
    seeds: tuple[bytes, ...]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Chain.embedded(EmbeddedChain(None), owned=True) as chain:
        market = Market(chain, deploy(chain, developer()))
        keys = tuple(Account(bytes([n]) * 32) for n in (31, 32, 33))
        pairs = [hpke_generate() for _ in keys]
        members = tuple(
            Member(i, pair[1], key.address, f"in-process:{i}")
            for i, (key, pair) in enumerate(zip(keys, pairs, strict=True), 1)
        )
        committee = Committee(t=2, q=3, epoch=1, end=chain.block().timestamp + 86400, keepers=members)
        committee = committee.signed([key.sign_hash(committee.digest) for key in keys])
        yield Town(market, Relayer(chain, developer()), committee, tuple(pair[0] for pair in pairs))


@dataclass
class Owner:
    account: Account
    vault: Vault
    blocks: MemoryBlocks
    terms: Terms


@pytest.fixture
def owner(town: Town) -> Owner:
    root, blocks = RootKey.generate(), MemoryBlocks()
    account = Account(root.evm_key())
    terms = Terms.write(
        purposes=["service-provision"],
        payee=account.address,
        committee=town.committee.hash,
        expiry=town.market.chain.block().timestamp + 86400,
        flat=10,
    )
    vault = Vault(root, VaultId(bytes([8]) * 32), blocks)
    vault.add_bytes("one.txt", b"The mill at Ravensholt turns slowly.\n")
    vault.add_bytes("two.txt", b"Its keeper hums.\n")
    return Owner(account, vault, blocks, terms)


def put_up(town: Town, owner: Owner, **changes):
    """Publish the owner's objects, or the `first` of them."""
    ids = [entry.object_id for entry in owner.vault.entries()][: changes.pop("first", None)]
    given = {
        "card": CARD,
        "terms": owner.terms,
        "committee": town.committee,
        "accepted": [town.committee.hash],
    } | changes
    return publish(town.market, town.relayer, owner.vault, owner.blocks, owner.account, ids, **given)


def test_a_published_dataset_is_on_chain_in_its_owners_name_without_the_owners_gas(town, owner):
    done = put_up(town, owner)
    publication = done.publication
    assert done.asset == asset_of(owner.account.address, publication.header_bytes)
    assert town.market.registered_terms(done.asset) == [owner.terms.hash]
    (event,) = town.market.registry.events("Registered", asset=done.asset)
    assert (event.args["owner"], event.args["digest"]) == (owner.account.address, digest(publication.header))
    assert town.market.chain.balance(owner.account.address) == 0
    (record,) = owner.vault.records("dataset")
    assert (record["asset"], Terms.decode(record["terms"])) == (done.asset, owner.terms)


def test_whoever_has_the_publication_finds_and_checks_everything(town, owner):
    done = put_up(town, owner)
    found = Publication.load(owner.blocks, done.cid)
    assert found == done.publication
    found.check(owner.account.address, done.asset)
    assert found.terms == owner.terms
    assert found.header.objects == len(found.manifests) == 2
    assert owner.blocks.has(Cid(RAW, owner.terms.hash))
    assert owner.blocks.has(Cid(DAG_CBOR, digest(found.header)))


def test_any_two_keepers_hold_the_key_of_each_object_and_one_does_not(town, owner):
    done = put_up(town, owner)
    market, publication = town.market, done.publication
    scope = Scope(market.chain_id, market.token.address, owner.account.address, done.asset, publication.header.vault_id)
    head = publication.shares.head
    for manifest in publication.object_manifests:
        data, index, proof = publication.shares.row(manifest.object_id)
        row = verify_row(head, data, index, proof)
        shares = [open_share(town.seeds[i - 1], i, scope, head, row) for i in (1, 3)]
        dek = recover_dek(shares, town.committee.t, manifest.dek_commit, manifest.vault_id, manifest.object_id)
        assert dek == owner.vault.dek(manifest.object_id)
        with pytest.raises((Corrupted, InvalidInput)):
            recover_dek(shares[:1], town.committee.t, manifest.dek_commit, manifest.vault_id, manifest.object_id)


def test_publishing_again_shares_anew_under_a_higher_number(town, owner):
    one, two = put_up(town, owner), put_up(town, owner)
    assert one.asset == two.asset
    assert (one.publication.shares.head.sequence, two.publication.shares.head.sequence) == (1, 2)
    assert one.publication.shares.head.batch_id != two.publication.shares.head.batch_id


def test_keys_go_only_to_a_committee_that_is_accepted_named_and_signed(town, owner):
    with pytest.raises(Refused, match="not among those you accept"):
        put_up(town, owner, accepted=[bytes(32)])
    with pytest.raises(InvalidInput, match="another committee"):
        put_up(town, owner, terms=replace(owner.terms, committee=bytes(32)))
    with pytest.raises(Corrupted, match="not signed"):
        put_up(town, owner, committee=replace(town.committee, signatures=()))
    with pytest.raises(Corrupted, match="Keeper 1"):
        put_up(town, owner, committee=replace(town.committee, end=town.committee.end + 1))
    assert owner.vault.records("dataset") == []
    assert owner.vault.datasets() == []


def test_a_committee_whose_term_is_over_gets_no_shares(town, owner):
    keys = [Account(bytes([n]) * 32) for n in (31, 32, 33)]
    over = replace(town.committee, end=1, signatures=())
    over = over.signed([key.sign_hash(over.digest) for key in keys])
    with pytest.raises(Refused, match="term is over"):
        put_up(town, owner, committee=over)


def test_documents_of_another_dataset_do_not_pass(town, owner):
    one, two = put_up(town, owner), put_up(town, owner, first=1)
    account, a, b = owner.account.address, one.publication, two.publication
    for wrong, asset in [
        (a, two.asset),
        (replace(a, header_bytes=b.header_bytes), one.asset),
        (replace(a, manifests=b.manifests), one.asset),
        (replace(a, manifests=()), one.asset),
        (replace(a, shares=b.shares), one.asset),
        (replace(a, shares=replace(a.shares, sig=bytes(64))), one.asset),
    ]:
        with pytest.raises(Corrupted):
            wrong.check(account, asset)
    with pytest.raises(Corrupted):
        a.check(town.relayer.address, Asset(one.asset))
