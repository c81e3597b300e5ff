"""Signing in: one message, one nonce, one site, one chain, one time; and what a session is worth afterwards."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from allod.server import sessions, signin
from allod.server.records import NonceRow, SessionRow
from allod.world import World
from consent.chain.wallet import personal_digest
from core.database import transaction, utc_now
from core.encoding import to_hex
from core.errors import InvalidInput
from tests.server.people import ORIGIN, Person, account_of, again, sign_in_message


@pytest.fixture
def nonce(anonymous: TestClient) -> str:
    return str(anonymous.post("/v1/nonces").json()["nonce"])


def refused(anonymous: TestClient, body: dict[str, str], status: int = 422) -> dict[str, Any]:
    answer = anonymous.post("/v1/sessions", json=body)
    assert answer.status_code == status, answer.text
    assert "set-cookie" not in answer.headers
    problem: dict[str, Any] = answer.json()
    assert problem["hint"]
    return problem


def test_who_signed_in_is_known_until_signing_out(ada: Person) -> None:
    found = ada.http.get("/v1/sessions/current").json()
    assert found["account"] == ada.address
    assert found["csrf_token"] == ada.http.headers["x-csrf-token"]
    assert abs(found["expires_at"] - time.time() - 12 * 3600) < 60
    cookie = dict(ada.http.cookies)
    assert ada.http.delete("/v1/sessions/current").status_code == 204
    assert not dict(ada.http.cookies)
    ada.http.cookies.update(cookie)  # a copy of the cookie is worth nothing either
    assert ada.http.get("/v1/sessions/current").status_code == 401


def test_the_cookie_is_kept_from_scripts_and_other_sites(anonymous: TestClient, nonce: str) -> None:
    answer = anonymous.post("/v1/sessions", json=sign_in_message(account_of("ada"), nonce))
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("allod=")
    for part in ("httponly", "samesite=strict", "path=/"):
        assert part in cookie
    assert "domain" not in cookie
    assert "secure" not in cookie  # it would be dropped on http://127.0.0.1


def test_only_the_hash_of_the_token_is_stored(ada: Person, world: World) -> None:
    token = ada.http.cookies["allod"]
    with transaction(world.engine) as session:
        rows = session.scalars(select(SessionRow)).all()
    assert [row.account for row in rows] == [ada.account.address]
    assert token.encode() not in b"".join(row.token for row in rows)
    for file in world.home.glob("allod.db*"):
        assert token.encode() not in file.read_bytes()


def test_a_message_counts_once(anonymous: TestClient, nonce: str) -> None:
    body = sign_in_message(account_of("ada"), nonce)
    assert anonymous.post("/v1/sessions", json=body).status_code == 201
    anonymous.cookies.clear()
    assert "nonce" in refused(anonymous, body)["detail"]


def test_a_nonce_that_was_not_given_out_is_none(anonymous: TestClient) -> None:
    refused(anonymous, sign_in_message(account_of("ada"), "A" * 24))


def test_a_nonce_ends(anonymous: TestClient, nonce: str, world: World) -> None:
    with transaction(world.engine) as session:
        session.execute(update(NonceRow).values(expires=utc_now() - timedelta(seconds=1)))
    refused(anonymous, sign_in_message(account_of("ada"), nonce))


ELSEWHERE: list[dict[str, Any]] = [
    {"domain": "evil.example"},
    {"domain": "127.0.0.1:9999"},
    {"domain": "localhost:8600"},  # ours too, but the URI is not of it
    {"uri": "https://evil.example"},
    {"uri": ORIGIN + "/elsewhere"},
    {"chain_id": 1},
    {"ends": None},
    {"ends": 1_700_000_000},
    {"ends": 4_000_000_000},
    {"issued": 4_000_000_000},
    {"issued": 1_700_000_000},
    {"begins": 4_000_000_000},
    {"address": "0x" + "00" * 19},
    {"address": to_hex(account_of("ada").address).swapcase()},
]


def test_a_message_for_another_site_chain_or_time_is_none(anonymous: TestClient, nonce: str) -> None:
    for changes in ELSEWHERE:
        refused(anonymous, sign_in_message(account_of("ada"), nonce, **changes))
    # and the nonce is still good: what was refused used nothing up
    assert anonymous.post("/v1/sessions", json=sign_in_message(account_of("ada"), nonce)).status_code == 201


def test_what_is_no_message_is_told_so(anonymous: TestClient) -> None:
    for text in (
        "",
        "hello",
        "x" * 601,
        "\0",
        "\n" * 50,
        "ä" * 10,
        "wants you to sign in",
        "{}" * 1000,
        "127.0.0.1:8600 wants you to sign in with your Ethereum account:\n" + "a" * 500,
    ):
        refused(anonymous, {"message": text, "signature": "0x" + "11" * 65})


def test_every_cut_and_every_changed_character_of_a_message_is_refused(anonymous: TestClient, nonce: str) -> None:
    body = sign_in_message(account_of("ada"), nonce)
    now = utc_now()
    text = body["message"]

    def read(changed: str) -> bool:
        """Whether it still says the same as the one that was signed."""
        try:
            found = signin.read_message(changed, origins=(ORIGIN,), chain_id=31337, now=now)
        except InvalidInput:
            return False
        return bool(found.prepare_message() == text)

    assert read(text)
    assert not any(read(text[:length]) for length in range(0, len(text), 7))
    assert not any(read(text[:at] + "\x07" + text[at + 1 :]) for at in range(0, len(text), 7))


def test_what_the_account_did_not_sign_is_denied(anonymous: TestClient) -> None:
    for signature in ("0x" + "11" * 65, "0x" + "00" * 65, "0x11", "0x" + "ff" * 1024):
        nonce = anonymous.post("/v1/nonces").json()["nonce"]
        body = {**sign_in_message(account_of("ada"), nonce), "signature": signature}
        assert refused(anonymous, body, 403)["type"] == "urn:allod:problem:denied"


def test_another_key_cannot_sign_in_as_ada(anonymous: TestClient, nonce: str) -> None:
    refused(anonymous, sign_in_message(account_of("eve"), nonce, address=to_hex(account_of("ada").address)), 403)


# isValidSignature(bytes32,bytes): answers the magic value where the first byte of the signature is 0x01, else reverts.
WALLET = "6064 35 60f8 1c 6001 14 600f 57 5f 5f fd 5b 631626ba7e 60e0 1b 5f 52 6020 5f f3"


def test_a_contract_wallet_signs_in_by_what_it_accepts(anonymous: TestClient, world: World) -> None:
    code = bytes.fromhex(WALLET.replace(" ", ""))
    wallet = deploy(world, code)
    for signature, status in (("0x01", 201), ("0x02", 403)):
        nonce = anonymous.post("/v1/nonces").json()["nonce"]
        body = sign_in_message(account_of("ada"), nonce, address=to_hex(wallet))
        answer = anonymous.post("/v1/sessions", json={**body, "signature": signature})
        assert answer.status_code == status, answer.text
        assert answer.json().get("account", to_hex(wallet)) == to_hex(wallet)


def test_a_slow_chain_keeps_nobody_from_writing_and_a_refused_signature_uses_no_nonce_up(
    anonymous: TestClient, world: World, nonce: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks_the_chain(chain: object, wallet: object, digest: object, signature: bytes) -> bool:
        with transaction(world.engine) as session:  # somebody else writes meanwhile
            signin.give_nonce(session)
        return signature == b"\1"

    monkeypatch.setattr(sessions, "accepts", asks_the_chain)
    body = sign_in_message(account_of("ada"), nonce)
    for signature, status in (("0x02", 403), ("0x01", 201), ("0x01", 422)):
        assert anonymous.post("/v1/sessions", json={**body, "signature": signature}).status_code == status


def deploy(world: World, code: bytes) -> bytes:
    """Put runtime code on the chain."""
    creation = bytes([0x60, len(code), 0x80, 0x60, 0x0B, 0x5F, 0x39, 0x5F, 0xF3]).ljust(11, b"\x5b") + code
    receipt = world.chain.send(world.developer, None, creation)
    assert receipt.contract_address is not None
    return receipt.contract_address


def test_a_session_goes_on_while_it_is_used_and_ends_when_it_is_not(ada: Person, world: World) -> None:
    def age(by: timedelta) -> None:
        with transaction(world.engine) as session:
            row = session.scalars(select(SessionRow)).one()
            row.used, row.expires, row.created = row.used - by, row.expires - by, row.created - by

    age(timedelta(hours=11))
    assert abs(ada.http.get("/v1/sessions/current").json()["expires_at"] - time.time() - 12 * 3600) < 60
    age(timedelta(hours=12, minutes=1))
    assert ada.http.get("/v1/sessions/current").status_code == 401


def test_a_session_ends_after_a_week_however_busy(ada: Person, world: World) -> None:
    with transaction(world.engine) as session:
        row = session.scalars(select(SessionRow)).one()
        row.created, row.used = row.created - signin.LIFE, row.used - timedelta(hours=1)
    ada.http.get("/v1/sessions/current")
    assert ada.http.get("/v1/sessions/current").status_code == 401


def test_another_site_cannot_act_through_adas_browser(ada: Person) -> None:
    for headers in (
        {"x-csrf-token": b""},
        {"x-csrf-token": b"0" * 64},
        {"x-csrf-token": b"\xff"},
        {"origin": b"https://evil.example"},
        {"origin": b"null"},
        {"origin": b""},
        {"sec-fetch-site": b"cross-site"},
        {"sec-fetch-site": b"same-site"},
    ):
        assert ada.http.delete("/v1/sessions/current", headers=headers).status_code == 403, headers
    assert ada.http.get("/v1/sessions/current").status_code == 200


def test_without_an_origin_nothing_is_done(ada: Person) -> None:
    del ada.http.headers["origin"]
    assert ada.http.delete("/v1/sessions/current").status_code == 403


def test_the_token_of_another_session_is_not_this_sessions(ada: Person, tom: Person) -> None:
    token = {"x-csrf-token": tom.http.headers["x-csrf-token"]}
    assert ada.http.delete("/v1/sessions/current", headers=token).status_code == 403


def test_another_site_cannot_sign_anybody_in(anonymous: TestClient, nonce: str) -> None:
    body = sign_in_message(account_of("ada"), nonce)
    answer = anonymous.post("/v1/sessions", json=body, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_a_cookie_that_is_none_is_nobody(anonymous: TestClient) -> None:
    for cookie in ("x", "x" * 5000, "\x01"):
        assert anonymous.get("/v1/sessions/current", headers={"cookie": f"allod={cookie}"}).status_code == 401


def test_two_browsers_of_one_person_are_two_sessions(ada: Person) -> None:
    with again(ada) as other:
        assert other.http.delete("/v1/sessions/current").status_code == 204
    assert ada.http.get("/v1/sessions/current").status_code == 200


def test_signing_in_is_in_the_log_of_whom_it_concerns(ada: Person, tom: Person) -> None:
    kinds = [entry["kind"] for entry in ada.http.get("/v1/activity").json()["data"]]
    assert kinds == ["session.started"]


def test_https_has_the_cookie_that_no_other_host_can_set(world: World) -> None:
    from allod.server.app import create_app

    site = "https://allod.example"
    app = create_app(world, origins=(site,))
    with TestClient(app, base_url=site) as client:
        nonce = client.post("/v1/nonces").json()["nonce"]
        body = sign_in_message(account_of("ada"), nonce, domain="allod.example", uri=site)
        answer = client.post("/v1/sessions", json=body)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-allod=")
        assert "Secure" in cookie
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert client.get("/v1/sessions/current").json()["account"] == to_hex(account_of("ada").address)
    app.state.place.close()


def test_a_signature_is_over_the_personal_message() -> None:
    """The known answer of EIP-191 for "hello"."""
    assert personal_digest(b"hello").hex() == "50b2c43fd39106bafbba0da34fc430e1f91e3c96ea2acee2bc34119f92b37750"
