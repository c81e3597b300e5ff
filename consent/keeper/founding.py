"""Founding a committee: its document from the keepers' public keys, signed by each of them.

Keepers on one machine are founded at once. Separate ones each make a card, one person makes a draft of the cards, the
draft goes round, and the signature that was missing last makes it the committee's document. A draft is that document
with another `type` and with empty signatures where they are missing (docs/format/62-keepers.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from consent.chain.account import recover
from consent.committee import HPKE_PUBLIC_KEY, Committee, Member
from consent.fields import UINT40_MAX, constant, exact_map, hex_octets, integer
from consent.keeper.keys import KeeperKeys
from core.encoding import decode_json, encode_json
from core.errors import Conflict, Corrupted, Denied, InvalidInput
from core.ids import NOBODY, Address

_UNSIGNED = bytes(65)


def found_committee(
    keepers: Sequence[KeeperKeys], t: int, q: int, epoch: int, end: int, *, endpoints: Sequence[str] | None = None
) -> Committee:
    """The signed committee of these keepers, numbered 1…n in their order, for an HPKE `epoch` until `end` (Unix s).

    q ≥ n − t + 1 + f withstands f lying keepers (DESIGN §6). `endpoints` default to "local:<index>". Keepers on other
    machines exchange a `Draft` instead.
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


@dataclass(frozen=True)
class Card:
    """What one keeper brings to a committee, for everyone to see."""

    epoch: int
    member: Member

    def encode(self) -> bytes:
        """As canonical JSON."""
        return encode_json({"v": 1, "type": "allod/keeper-card", "epoch": self.epoch, **self.member.document})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse what `encode` writes (a final line break is allowed), else `InvalidInput`."""
        keys = ("v", "type", "epoch", "index", "hpke", "address", "endpoint")
        fields = exact_map(decode_json(data.rstrip(), limit=16 << 10), keys, "The keeper's card")
        constant(fields["v"], 1, "The card's version")
        constant(fields["type"], "allod/keeper-card", "The card's type")
        epoch = integer(fields["epoch"], "The card's epoch", at_least=1, at_most=UINT40_MAX)
        hpke = hex_octets(fields["hpke"], "The card's HPKE key", HPKE_PUBLIC_KEY)
        address = Address(hex_octets(fields["address"], "The card's address", 20))
        return cls(epoch, Member(fields["index"], hpke, address, fields["endpoint"]))


@dataclass(frozen=True)
class Draft:
    """A committee on its way round; `signatures` in index order, None where one is missing."""

    committee: Committee
    signatures: tuple[bytes | None, ...]

    @classmethod
    def of(cls, cards: Sequence[Card], *, t: int, q: int, end: int) -> Self:
        """The draft of these cards, in whatever order; all are of one epoch."""
        epochs = {card.epoch for card in cards}
        if len(epochs) != 1:
            raise InvalidInput("The cards are of different epochs.", hint="Ask for cards of one epoch.")
        members = tuple(sorted((card.member for card in cards), key=lambda member: member.index))
        return cls(Committee(t=t, q=q, epoch=epochs.pop(), end=end, keepers=members), (None,) * len(members))

    @property
    def missing(self) -> list[int]:
        """The indices of keepers who did not sign yet."""
        return [index for index, signature in enumerate(self.signatures, start=1) if signature is None]

    @property
    def complete(self) -> Committee | None:
        """The committee, once everyone signed."""
        signatures = [signature for signature in self.signatures if signature is not None]
        return self.committee.signed(signatures) if len(signatures) == self.committee.n else None

    def signed(self, keys: KeeperKeys, card: Card) -> Draft:
        """With this keeper's signature; `Denied` where the draft says something else of it than its own `card`."""
        seat = next((member for member in self.committee.keepers if member.address == keys.address), None)
        if seat is None:
            raise Denied("This committee does not name this keeper.", hint="Send your card to who founds it.")
        if (seat, self.committee.epoch) != (card.member, card.epoch):
            raise Denied(
                "The committee names this keeper with another index, key, endpoint or epoch than its card.",
                hint="Have it founded again with your card.",
            )
        if keys.hpke_public(self.committee.epoch) != seat.hpke:
            raise Denied("The committee names another HPKE key for this keeper than it holds.")
        if self.signatures[seat.index - 1] is not None:
            raise Conflict(f"Keeper {seat.index} has signed already.", hint="Pass it on to one who has not.")
        signatures = list(self.signatures)
        signatures[seat.index - 1] = sign_committee(keys, self.committee)
        return replace(self, signatures=tuple(signatures))

    def encode(self) -> bytes:
        """As canonical JSON: the committee's own form once it is complete."""
        whole = self.complete
        if whole is not None:
            return whole.encode()
        signatures = tuple(signature or _UNSIGNED for signature in self.signatures)
        document: dict[str, Any] = decode_json(replace(self.committee, signatures=signatures).encode(), limit=256 << 10)
        held = [
            text if signature is not None else ""
            for text, signature in zip(document["signatures"], self.signatures, strict=True)
        ]
        return encode_json({**document, "type": "allod/committee-draft", "signatures": held})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse what `encode` writes of an incomplete draft; `Corrupted` where a signature is not its keeper's."""
        document = decode_json(data.rstrip(), limit=256 << 10)
        if not isinstance(document, dict) or not isinstance(document.get("signatures"), list):
            raise InvalidInput("The file is no committee that goes round to be signed.")
        if document.get("type") == "allod/committee":
            raise Conflict("This committee is signed by everyone.", hint="`allod keeper serve` takes it.")
        constant(document.get("type"), "allod/committee-draft", "The draft's type")
        blank = "0x" + _UNSIGNED.hex()
        filled = [text or blank for text in document["signatures"]]
        whole = Committee.decode(encode_json({**document, "type": "allod/committee", "signatures": filled}))
        committee = replace(whole, signatures=())
        signatures = tuple(None if signature == _UNSIGNED else signature for signature in whole.signatures)
        if len(signatures) != committee.n:
            raise InvalidInput("The draft has not one place for each keeper's signature.")
        for member, signature in zip(committee.keepers, signatures, strict=True):
            if signature is not None and _signer(committee.digest, signature) != member.address:
                raise Corrupted(f"Keeper {member.index} did not sign this draft.", hint="Have it founded again.")
        return cls(committee, signatures)


def _signer(digest: bytes, signature: bytes) -> Address:
    try:
        return recover(digest, signature)
    except InvalidInput:
        return NOBODY
