"""Signing in, and what a session is worth."""

from __future__ import annotations

from starlette.testclient import TestClient

from tests.server.conftest import Person


def test_who_signed_in_is_known(ada: Person) -> None:
    found = ada.http.get("/v1/sessions/current").json()
    assert found["account"] == ada.address


def test_the_world_is_described(anonymous: TestClient) -> None:
    found = anonymous.get("/v1/world")
    assert found.status_code == 200, found.text
    assert found.json()["chain_id"] == 31337


def test_sign_out(ada: Person) -> None:
    assert ada.http.delete("/v1/sessions/current").status_code == 204
    assert ada.http.get("/v1/sessions/current").status_code == 401
