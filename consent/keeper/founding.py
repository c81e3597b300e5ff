"""Founding a committee: its document from the keepers' public keys, signed by each of them."""

from __future__ import annotations

from collections.abc import Sequence

from consent.committee import Committee, Member
from consent.keeper.keys import KeeperKeys


def found_committee(
    keepers: Sequence[KeeperKeys], t: int, q: int, epoch: int, end: int, *, endpoints: Sequence[str] | None = None
) -> Committee:
    """The signed committee of these keepers, numbered 1…n in their order, for an HPKE `epoch` until `end` (Unix s).

    q ≥ n − t + 1 + f withstands f lying keepers (DESIGN §6). `endpoints` default to "local:<index>". Keepers on other
    machines exchange the unsigned document instead and each call `sign_committee`.
    """
    names = endpoints if endpoints is not None else [f"local:{index}" for index in range(1, len(keepers) + 1)]
    members = tuple(
        Member(index, keys.hpke_public(epoch), keys.address, endpoint)
        for index, (keys, endpoint) in enumerate(zip(keepers, names, strict=True), start=1)
    )
    committee = Committee(t=t, q=q, epoch=epoch, end=end, keepers=members)
    return committee.signed([sign_committee(keys, committee) for keys in keepers])


def sign_committee(keys: KeeperKeys, committee: Committee) -> bytes:
    """One keeper's signature under a committee's document."""
    return keys.account.sign_hash(committee.digest)
