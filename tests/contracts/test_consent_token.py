"""How a consent becomes a token, and every way in which it must not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consent.chain.account import SECP256K1_ORDER
from consent.contracts import load
from consent.grant import Consent, nonce_of
from consent.typed import revoke_digest
from core.errors import Refused
from core.ids import NOBODY
from tests.contracts.world import DAY, GAS, OTHER_OWNER, OWNER, RELAYER, STRANGER, TRAINER, World

LIVE, NEVER, BURNED, EPOCH, NONCE, NOT_YET, EXPIRED, USED, MINTED, MALFORMED, OFFER, SIGNATURE = range(12)


def offer(world: World, bit: int = 0, **changes: Any) -> Consent:
    return world.consent(bit, grantee=NOBODY, **changes)


def redeem(world: World, *consents: Consent, signatures: list[bytes] | None = None) -> dict[bytes, int]:
    """Redeem these by a relayer: which were skipped and why."""
    if signatures is None:
        signatures = [world.sign(consent) for consent in consents]
    receipt = world.send(RELAYER, world.token, "redeem", [c.as_tuple() for c in consents], signatures)
    return {event["id"]: event["reason"] for event in world.events(receipt, "Skipped")}


def test_ids_and_digests_are_those_of_the_client(world: World) -> None:
    consent = world.consent(200, runner=STRANGER.address, not_before=7, max_uses=9, nonce=nonce_of(3, 2**56 - 1, 255))
    assert world.token.read("digest_of", consent.as_tuple()) == world.digest(consent)
    assert world.token.read("id_of", consent.as_tuple(), TRAINER.address) == world.id(consent)


def test_a_granted_consent_is_a_locked_expiring_token_of_the_trainer(world: World) -> None:
    consent = world.consent(not_before=5)
    receipt = world.send(OWNER, world.token, "grant", consent.as_tuple())
    token_id = int.from_bytes(world.id(consent), "big")
    assert world.events(receipt, "Transfer") == [{"sender": NOBODY, "receiver": TRAINER.address, "token_id": token_id}]
    assert world.events(receipt, "Locked") == [{"tokenId": token_id}]
    assert world.events(receipt, "TokenExpiryUpdated") == [
        {"tokenId": token_id, "startTime": 5, "endTime": consent.expiry}
    ]
    assert world.status(consent) == LIVE
    assert world.word(consent) == int.from_bytes(TRAINER.address, "big") << 96 | 5 << 56 | consent.expiry << 16
    assert world.token.read("ownerOf", token_id) == TRAINER.address
    assert world.token.read("balanceOf", TRAINER.address) == 1
    assert world.token.read("startTime", token_id) == 5
    assert world.token.read("endTime", token_id) == consent.expiry
    assert world.token.read("locked", token_id) is True
    assert world.token.read("isTokenExpired", token_id) is False
    assert world.token.read("getApproved", token_id) == NOBODY
    assert f'"value":{consent.expiry}}}' in world.token.read("tokenURI", token_id)


def test_only_its_owner_grants_a_consent_and_never_an_offer(world: World) -> None:
    world.refused("not the owner", STRANGER, world.token, "grant", world.consent().as_tuple())
    world.refused("an offer is taken, not granted", OWNER, world.token, "grant", offer(world).as_tuple())


def spoiled(world: World, case: str) -> tuple[Consent, int, str]:
    """A consent that must not be minted, the reason's number and its words; what spoils it has happened."""
    consent = world.consent(1)
    if case == "minted":
        world.send(OWNER, world.token, "grant", consent.as_tuple())
        return consent, MINTED, "already minted"
    if case == "burned":
        world.send(OWNER, world.token, "grant", consent.as_tuple())
        world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
        return consent, BURNED, "burned"
    if case == "surrendered":
        world.send(OWNER, world.token, "grant", consent.as_tuple())
        world.send(TRAINER, world.token, "surrender", [consent.as_tuple()])
        return consent, BURNED, "burned"
    if case == "revoked unminted":
        world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
        return consent, BURNED, "burned"
    if case == "refused unminted":
        world.send(TRAINER, world.token, "surrender", [consent.as_tuple()])
        return consent, BURNED, "burned"
    if case == "nonce revoked":
        world.send(OWNER, world.token, "revoke_nonces", 0, 0b11)
        return consent, NONCE, "nonce revoked"
    if case == "withdrawn epoch":
        world.send(OWNER, world.token, "revoke_all")
        return consent, EPOCH, "epoch ended"
    if case == "future epoch":
        return replace(consent, nonce=nonce_of(1, 0, 1)), EPOCH, "epoch ended"
    if case == "nonce revoked in an epoch before":
        world.send(OWNER, world.token, "revoke_nonces", 0, 0b11)
        world.send(OWNER, world.token, "revoke_all")
        return replace(consent, nonce=nonce_of(1, 0, 1)), NONCE, "nonce revoked"
    if case == "expired":
        consent = replace(consent, expiry=world.now + 100)
        world.advance(200)
        return consent, EXPIRED, "expired"
    raise AssertionError(case)


UNMINTABLE = [
    "minted", "burned", "surrendered", "revoked unminted", "refused unminted", "nonce revoked", "withdrawn epoch",
    "future epoch", "nonce revoked in an epoch before", "expired",
]  # fmt: skip


@pytest.mark.parametrize("case", UNMINTABLE)
def test_what_ended_or_never_began_is_not_minted_by_grant_or_redeem(world: World, case: str) -> None:
    consent, reason, words = spoiled(world, case)
    balance = world.token.read("balanceOf", TRAINER.address)
    world.refused(words, OWNER, world.token, "grant", consent.as_tuple())
    assert redeem(world, consent) == {world.id(consent): reason}
    assert world.token.read("balanceOf", TRAINER.address) == balance


@pytest.mark.parametrize("change", [{"escrow": NOBODY}, {"not_before": 10**10, "expiry": 10**10}, {"expiry": 0}])
def test_a_malformed_consent_is_not_minted(world: World, change: dict[str, Any]) -> None:
    fields = list(world.consent(expiry=10**10).as_tuple())
    places = {"escrow": 6, "not_before": 7, "expiry": 8}
    for name, value in change.items():
        fields[places[name]] = value
    world.refused("malformed consent", OWNER, world.token, "grant", fields)
    signature = OWNER.sign_hash(world.token.read("digest_of", fields))
    receipt = world.send(RELAYER, world.token, "redeem", [fields], [signature])
    assert [event["reason"] for event in world.events(receipt, "Skipped")] == [MALFORMED]
    assert world.token.read("balanceOf", TRAINER.address) == 0


def test_values_wider_than_their_types_are_refused_before_anything_is_hashed(world: World) -> None:
    data = bytearray(world.token.encode("grant", world.consent().as_tuple()))
    for member, width in ((0, 20), (5, 20), (7, 5), (9, 2), (10, 12)):
        wide = bytearray(data)
        wide[4 + 32 * member + 31 - width] = 1
        with pytest.raises(Refused):
            world.chain.send(OWNER, world.token.address, bytes(wide), gas=GAS)


def test_a_relayer_redeems_a_batch_and_one_bad_entry_costs_only_itself(world: World) -> None:
    good = [world.consent(bit) for bit in range(3)]
    foreign = world.consent(10)
    late = world.consent(11, expiry=world.now + 3)
    open_offer = offer(world, 12)
    batch = [good[0], foreign, good[1], late, open_offer, good[2], good[0]]
    signatures = [world.sign(c) for c in batch]
    signatures[1] = world.sign(foreign, STRANGER)
    world.advance(10)
    receipt = world.send(RELAYER, world.token, "redeem", [c.as_tuple() for c in batch], signatures)
    skipped = [(event["id"], event["reason"]) for event in world.events(receipt, "Skipped")]
    assert skipped == [
        (world.id(foreign), SIGNATURE),
        (world.id(late), EXPIRED),
        (world.token.read("id_of", open_offer.as_tuple(), NOBODY), OFFER),
        (world.id(good[0]), MINTED),
    ]
    assert [world.status(c) for c in good] == [LIVE] * 3
    assert world.status(foreign) == NEVER
    assert world.token.read("balanceOf", TRAINER.address) == 3


def test_redeem_wants_one_signature_for_each_consent(world: World) -> None:
    consent = world.consent()
    world.refused(
        "one signature per consent", RELAYER, world.token, "redeem", [consent.as_tuple()], [world.sign(consent)] * 2
    )


@pytest.mark.parametrize("case", ["empty", "short", "long", "high s", "v 0", "other consent", "zero owner", "zeros"])
def test_only_the_one_well_formed_signature_of_the_owner_counts(world: World, case: str) -> None:
    consent = world.consent()
    signature = world.sign(consent)
    high = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    fields = list(consent.as_tuple())
    forged = {
        "empty": b"",
        "short": signature[:64],
        "long": signature + b"\0",
        "high s": signature[:32] + high.to_bytes(32, "big") + bytes([55 - signature[64]]),
        "v 0": signature[:64] + bytes([signature[64] - 27]),
        "other consent": world.sign(world.consent(1)),
        "zero owner": signature,
        "zeros": bytes(65),
    }[case]
    if case in ("zero owner", "zeros"):
        fields[0] = NOBODY
    receipt = world.send(RELAYER, world.token, "redeem", [fields], [forged])
    assert [event["reason"] for event in world.events(receipt, "Skipped")] == [SIGNATURE]


def test_a_signature_for_another_chain_or_contract_mints_nothing(world: World) -> None:
    consent = world.consent()
    for digest in (
        consent.digest(1, world.token.address),
        consent.digest(world.chain.chain_id, world.escrow.address),
    ):
        assert redeem(world, consent, signatures=[OWNER.sign_hash(digest)]) == {world.id(consent): SIGNATURE}


def test_an_offer_gives_each_taker_a_token_of_their_own(world: World) -> None:
    open_offer = offer(world)
    signature = world.sign(open_offer)
    for taker in (TRAINER, STRANGER):
        world.send(taker, world.token, "take", open_offer.as_tuple(), signature)
        assert world.status(open_offer, taker.address) == LIVE
    assert world.id(open_offer, TRAINER.address) != world.id(open_offer, STRANGER.address)
    world.refused("already minted", TRAINER, world.token, "take", open_offer.as_tuple(), signature)


def test_an_offer_taken_through_a_relayer_is_the_relayers_and_not_the_trainers(world: World) -> None:
    open_offer = offer(world)
    world.send(RELAYER, world.token, "take", open_offer.as_tuple(), world.sign(open_offer))
    assert world.status(open_offer, TRAINER.address) == NEVER
    assert world.status(open_offer, RELAYER.address) == LIVE
    other = offer(world, 1)
    assert redeem(world, other) == {world.token.read("id_of", other.as_tuple(), NOBODY): OFFER}


def test_a_named_consent_is_not_taken_and_an_unsigned_offer_neither(world: World) -> None:
    consent = world.consent()
    world.refused("not an offer", STRANGER, world.token, "take", consent.as_tuple(), world.sign(consent))
    open_offer = offer(world)
    world.refused(
        "bad signature", STRANGER, world.token, "take", open_offer.as_tuple(), world.sign(open_offer, STRANGER)
    )


@pytest.mark.parametrize("case", ["revoked", "surrendered unminted", "nonce", "epoch", "expired"])
def test_an_ended_offer_is_not_taken(world: World, case: str) -> None:
    open_offer = offer(world, 3, expiry=world.now + 1000)
    signature = world.sign(open_offer)
    words = "burned"
    if case == "revoked":
        world.send(OWNER, world.token, "revoke", open_offer.as_tuple(), TRAINER.address)
    elif case == "surrendered unminted":
        world.send(TRAINER, world.token, "surrender", [open_offer.as_tuple()])
    elif case == "nonce":
        world.send(OWNER, world.token, "revoke_nonces", 0, 1 << 3)
        words = "nonce revoked"
    elif case == "epoch":
        world.send(OWNER, world.token, "revoke_all")
        words = "epoch ended"
    else:
        world.advance(2000)
        words = "expired"
    world.refused(words, TRAINER, world.token, "take", open_offer.as_tuple(), signature)
    if case in ("revoked", "surrendered unminted"):
        world.send(STRANGER, world.token, "take", open_offer.as_tuple(), signature)
        assert world.status(open_offer, STRANGER.address) == LIVE


def test_a_contract_wallet_consents_by_its_own_rule(world: World) -> None:
    wallet = world.deploy(RELAYER, "Wallet", OWNER.address)
    consent = world.consent(owner=wallet.address)
    assert redeem(world, consent, signatures=[world.sign(consent, STRANGER)]) == {world.id(consent): SIGNATURE}
    assert redeem(world, consent) == {}
    assert world.status(consent) == LIVE
    digest = revoke_digest(world.chain.chain_id, world.token.address, wallet.address, [world.id(consent)])
    world.send(RELAYER, world.token, "revoke_by_sig", [consent.as_tuple()], [TRAINER.address], OWNER.sign_hash(digest))
    assert world.status(consent) == BURNED


@pytest.mark.parametrize("mood", [1, 2, 3, 4])
def test_a_misbehaving_wallet_costs_the_batch_nothing_but_its_own_entry(world: World, mood: int) -> None:
    wallet = world.deploy(RELAYER, "Wallet", OWNER.address)
    world.send(RELAYER, wallet, "feel", mood)
    bad, good = world.consent(0, owner=wallet.address), world.consent(1)
    # A long answer that begins with the right word is cut to that word: as if the wallet had said only that.
    expected = {} if mood == 3 else {world.id(bad): SIGNATURE}
    structs = [bad.as_tuple(), good.as_tuple()]
    receipt = world.send(RELAYER, world.token, "redeem", structs, [world.sign(bad), world.sign(good)])
    assert {e["id"]: e["reason"] for e in world.events(receipt, "Skipped")} == expected
    assert world.status(good) == LIVE
    assert receipt.gas_used < 1_200_000  # whoever burns, burns a million at most


def test_tokens_never_move_and_nobody_is_approved(world: World) -> None:
    consent = world.consent()
    world.send(OWNER, world.token, "grant", consent.as_tuple())
    token_id = int.from_bytes(world.id(consent), "big")
    trainer, stranger = TRAINER.address, STRANGER.address
    for name, *args in (
        ("transferFrom", trainer, stranger, token_id),
        ("safeTransferFrom", trainer, stranger, token_id),
        ("safeTransferFrom", trainer, stranger, token_id, b"data"),
        ("approve", stranger, token_id),
        ("setApprovalForAll", stranger, True),
    ):
        world.refused("soulbound", TRAINER, world.token, str(name), *args)
    assert world.token.read("isApprovedForAll", trainer, stranger) is False
    assert world.token.read("ownerOf", token_id) == trainer


def test_what_nobody_holds_has_no_standing_in_any_standard_view(world: World) -> None:
    burned = world.consent(0)
    world.send(OWNER, world.token, "grant", burned.as_tuple())
    world.send(OWNER, world.token, "revoke", burned.as_tuple(), TRAINER.address)
    for consent in (burned, world.consent(1)):
        token_id = int.from_bytes(world.id(consent), "big")
        for view in ("ownerOf", "locked", "tokenURI", "getApproved", "startTime", "endTime", "isTokenExpired"):
            with pytest.raises(Refused, match="no such token"):
                world.token.read(view, token_id)
    with pytest.raises(Refused, match="nobody holds nothing"):
        world.token.read("balanceOf", NOBODY)
    assert world.token.read("balanceOf", TRAINER.address) == 0


def test_the_interfaces_are_announced(world: World) -> None:
    for interface in ("01ffc9a7", "80ac58cd", "5b5e139f", "b45a3c0e", "3ebdfa31"):
        assert world.token.read("supportsInterface", bytes.fromhex(interface)) is True
    for interface in ("ffffffff", "00000000", "780e9d63"):
        assert world.token.read("supportsInterface", bytes.fromhex(interface)) is False
    assert world.token.read("expiryType") == 1
    assert world.token.read("eip712Domain")[:5] == (
        b"\x0f", "Allod Consent", "1", world.chain.chain_id, world.token.address
    )  # fmt: skip


def test_announced_interface_ids_are_made_of_the_functions_that_exist() -> None:
    ids = {
        "80ac58cd": [
            "balanceOf(address)", "ownerOf(uint256)", "approve(address,uint256)", "getApproved(uint256)",
            "setApprovalForAll(address,bool)", "isApprovedForAll(address,address)",
            "transferFrom(address,address,uint256)", "safeTransferFrom(address,address,uint256)",
            "safeTransferFrom(address,address,uint256,bytes)",
        ],
        "5b5e139f": ["name()", "symbol()", "tokenURI(uint256)"],
        "b45a3c0e": ["locked(uint256)"],
        "3ebdfa31": ["startTime(uint256)", "endTime(uint256)", "expiryType()", "isTokenExpired(uint256)"],
    }  # fmt: skip
    selectors = load("ConsentToken").method_ids
    for interface, functions in ids.items():
        mixed = 0
        for function in functions:
            mixed ^= int(selectors[function], 16)
        assert f"{mixed:08x}" == interface


def test_there_is_no_administrator(world: World) -> None:
    for name in ("ConsentToken", "JobEscrow", "DataRegistry"):
        functions = {entry["name"] for entry in load(name).abi if entry["type"] == "function"}
        assert not functions & {"owner", "transferOwnership", "pause", "unpause", "upgradeTo", "initialize", "kill"}
        code = load(name).runtime
        assert all(op not in _opcodes(code) for op in (0xF2, 0xF4, 0xFF))  # CALLCODE, DELEGATECALL, SELFDESTRUCT


def _opcodes(code: bytes) -> set[int]:
    """The opcodes in the part of the code that is reached by falling through from its start, data skipped."""
    found, place = set(), 0
    # Vyper puts its jump table behind the code; everything before it is instructions.
    end = len(code)
    while place < end:
        opcode = code[place]
        found.add(opcode)
        place += 1 + (opcode - 0x5F if 0x60 <= opcode <= 0x7F else 0)
    return found


def test_status_names_the_first_reason(world: World) -> None:
    consent = world.consent(7, not_before=world.now + DAY, expiry=world.now + 2 * DAY)
    assert world.status(consent) == NEVER
    world.send(OWNER, world.token, "grant", consent.as_tuple())
    assert world.status(consent) == NOT_YET
    assert world.status(consent, STRANGER.address) == NEVER
    world.advance(DAY + 10)
    assert world.status(consent) == LIVE
    world.advance(DAY)
    assert world.status(consent) == EXPIRED
    world.send(OWNER, world.token, "revoke_nonces", 0, 1 << 7)
    assert world.status(consent) == NONCE
    world.send(OWNER, world.token, "revoke_all")
    assert world.status(consent) == EPOCH
    world.send(OWNER, world.token, "revoke", consent.as_tuple(), TRAINER.address)
    assert world.status(consent) == BURNED


def test_live_packed_agrees_with_status_for_many_pairs_at_once(world: World) -> None:
    granted = [world.consent(bit) for bit in range(20)]
    granted.append(world.consent(30, not_before=world.now + DAY))
    granted.append(world.consent(31, expiry=world.now + 60))
    granted.append(world.consent(32, owner=OTHER_OWNER.address))
    signatures = [world.sign(c, OTHER_OWNER if c.owner == OTHER_OWNER.address else OWNER) for c in granted]
    for start in (0, 16):
        batch = granted[start : start + 16]
        world.send(RELAYER, world.token, "redeem", [c.as_tuple() for c in batch], signatures[start : start + 16])
    world.send(OWNER, world.token, "revoke_nonces", 0, 0b1010)
    world.send(OWNER, world.token, "revoke", granted[5].as_tuple(), TRAINER.address)
    world.advance(100)
    granted.append(world.consent(40))  # never minted
    expected = [world.status(c) == LIVE for c in granted]
    assert expected.count(True) == 20 - 3 + 1
    many = granted * 25  # 600 pairs: three words
    packed = b"".join(world.id(c) + c.owner + c.nonce.to_bytes(12, "big") for c in many)
    words = world.token.read("live_packed", packed)
    assert [bool(words[i >> 8] >> (i & 255) & 1) for i in range(len(many))] == expected * 25
    assert len(words) == 3
    assert words[2] >> (len(many) - 512) == 0
    assert world.token.read("live_packed", b"") == ()
    for length in (1, 63, 65):
        with pytest.raises(Refused, match="not whole pairs"):
            world.token.read("live_packed", bytes(length))
    world.send(OWNER, world.token, "revoke_all")
    words = world.token.read("live_packed", packed[: 64 * len(granted)])
    assert words == (1 << granted.index(next(c for c in granted if c.owner == OTHER_OWNER.address)),)
