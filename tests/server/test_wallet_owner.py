"""An owner whose account is a contract wallet (ERC-1271) does all that others do, and still needs no gas."""

from __future__ import annotations

from collections.abc import Callable

import vyper

from allod.world import World
from consent.chain.contract import create
from consent.market.signatures import is_signed
from core.encoding import to_hex
from tests.consent.test_market import WALLET
from tests.server.market import Owner, ask_for, key, ok, refused, work
from tests.server.people import Person


def test_a_wallet_publishes_grants_and_revokes(world: World, person: Callable[..., Person], tom: Person) -> None:
    ada = person("ada", signed_in=False)
    output = vyper.compile_code(WALLET, output_formats=["abi", "bytecode"])
    bytecode = bytes.fromhex(output["bytecode"][2:])
    wallet, _ = create(world.chain, world.developer, output["abi"], bytecode, ada.account.address)
    ada.sign_in(address=to_hex(wallet.address))
    owner = Owner(world, ada, wallet.address)
    made = owner.publish()
    request = ok(tom.http.post("/v1/requests", json=ask_for(made), headers=key()), 201)
    consent = owner.consent(made, tom.account.address)
    refused(owner.post_consent(consent, signature=tom.account.sign_hash(b"x" * 32)), 403, "is not the signature of")
    granted = ok(owner.post_consent(consent, request["id"]), 202)
    work(world)
    assert owner.operation(granted)["state"] == "final"
    revoked = ok(owner.revoke([(consent, tom.account.address)]), 202)
    everything = ok(owner.revoke_all(0), 202)
    work(world)
    for one in (revoked, everything):
        found = owner.operation(one)
        assert found["state"] == "final"
        assert all(keeper["stored"] for keeper in found["keepers"])
    assert world.chain.balance(wallet.address) == 0
    digest = b"d" * 32
    assert is_signed(world.market, wallet.address, digest, ada.account.sign_hash(digest))
    for signature in (b"", b"\x01" * 2000, tom.account.sign_hash(digest), ada.account.sign_hash(digest)[:64]):
        assert not is_signed(world.market, wallet.address, digest, signature)
