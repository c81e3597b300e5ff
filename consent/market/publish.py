"""Publishing a dataset: header, card, terms, share table into blocks, the asset on chain through a relayer.

Promises: everything is stored and flushed, and in the owner's sealed records, before the chain hears of it; data keys
are shared only with a committee that the owner's own settings accept and whose keepers all signed its document.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from consent.chain.account import Account
from consent.committee import Committee
from consent.market.place import Market, Relayer, Sent
from consent.market.publication import Publication, asset_of
from consent.terms import Terms
from consent.typed import register_digest
from core.encoding import to_hex
from core.errors import InvalidInput, Refused
from core.ids import Address, Asset, ObjectId
from vault.blocks import BlockStore
from vault.cid import Cid
from vault.manifest import digest
from vault.sharing import Scope, share_objects
from vault.vault import Vault


@dataclass(frozen=True)
class Published:
    """A dataset on chain: its asset, its publication and the block that holds it, the transaction."""

    asset: Asset
    publication: Publication
    cid: Cid
    sent: Sent


def check_committee(market: Market, committee: Committee, terms: Terms, accepted: Collection[bytes]) -> None:
    """`Refused` unless these keepers are accepted here, named by the terms, in office, and all signed."""
    if committee.hash not in accepted:
        raise Refused(
            "This committee of keepers is not among those you accept.",
            hint="Check its keepers' addresses, then add its hash to your settings.",
        )
    if terms.committee != committee.hash:
        raise InvalidInput("The terms name another committee than the one that is to hold the keys.")
    committee.verify()
    if committee.end <= market.chain.block().timestamp:
        raise Refused("This committee's term is over.", hint="Ask its keepers for the document of their new epoch.")


@dataclass(frozen=True)
class Prepared:
    """A dataset that is stored but not registered: its asset, its publication and the block that holds it."""

    asset: Asset
    publication: Publication
    cid: Cid


def prepare(
    market: Market,
    vault: Vault,
    blocks: BlockStore,
    owner: Address,
    object_ids: Sequence[ObjectId],
    card: Mapping[str, Any],
    terms: Terms,
    committee: Committee,
    accepted: Collection[bytes],
) -> Prepared:
    """Share the objects' keys and put all public documents into `blocks`, durably, and into the owner's records.

    `card` is public ({title, description, schema, sample}); `accepted` are the committee hashes of the owner's own
    settings.
    """
    check_committee(market, committee, terms, accepted)
    header, manifests = vault.build_dataset(object_ids, dict(card))
    asset = asset_of(owner, header.encode())
    scope = Scope(market.chain_id, market.token.address, owner, asset, vault.vault_id)
    deks = {object_id: vault.dek(object_id) for object_id in object_ids}
    sequence = 1 + sum(record["asset"] == asset for record in vault.records("dataset"))
    table = share_objects(scope, deks, committee.id, committee.t, committee.hpke_keys, vault.signing_key, sequence)
    publication = Publication(header.encode(), terms.encode(), tuple(manifests), table)
    publication.check(owner, asset)
    cid = publication.store(blocks)
    blocks.flush()
    record = {"asset": asset, "publication": cid.link, "terms": terms.encode(), "committee": committee.id}
    vault.save_record("dataset", record)
    return Prepared(asset, publication, cid)


def publish(
    market: Market,
    relayer: Relayer,
    vault: Vault,
    blocks: BlockStore,
    owner: Account,
    object_ids: Sequence[ObjectId],
    card: Mapping[str, Any],
    terms: Terms,
    committee: Committee,
    accepted: Collection[bytes],
) -> Published:
    """Put these objects up as one dataset under these terms: `prepare` it, then register it.

    Registering again changes nothing on chain but the gas it costs.
    """
    made = prepare(market, vault, blocks, owner.address, object_ids, card, terms, committee, accepted)
    header = digest(made.publication.header)
    signature = owner.sign_hash(
        register_digest(market.chain_id, market.registry.address, owner.address, header, terms.hash)
    )
    args = (owner.address, header, terms.hash, signature)
    key = f"register {to_hex(signature)}"
    sent = relayer.send("register", market.registry, "register_by_sig", *args, key=key)
    return Published(made.asset, made.publication, made.cid, sent)
