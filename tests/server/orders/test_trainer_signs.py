"""What the example trainer signs: the opening of the very job that it was shown, and nothing else a server may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.encoding import from_hex, to_hex
from core.errors import Refused, Unavailable
from core.ids import Address
from examples import trainer as script
from tests.server.ordering import Town, sign
from tests.worker.homes import FEE, LEAF

pytestmark = [pytest.mark.needs_trainer, pytest.mark.timeout(600)]


def runner_of(town: Town) -> Address:
    return Address(from_hex(town.payer.http.get("/v1/world").json()["runner"]["address"], 20))


def check(town: Town, quote: dict[str, Any], gas: int = script.OPENING_GAS, runner: Address | None = None) -> Any:
    payer = Address(town.home.payer.address)
    return script.check_opening(town.world.market, quote, payer, runner or runner_of(town), gas)


def with_opening(quote: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**quote, "opening": {**quote["opening"], **changes}}


def with_call(town: Town, quote: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The quote with other arguments of `open`."""
    escrow = town.world.market.escrow
    called = escrow.interface.decode_call(from_hex(quote["opening"]["data"]))
    assert called is not None
    names = ("lane", "start", "runner", "spec", "root", "counted", "former")
    values = {**dict(zip(names, called[1], strict=True)), **changes}
    return with_opening(quote, data=to_hex(escrow.encode("open", *values.values())))


def test_the_opening_of_the_quoted_job_is_signed_as_it_is(town: Town) -> None:
    quote = town.ready("ada")
    asked = check(town, quote)
    raw = town.home.payer.sign_transaction(**asked._asdict())
    assert to_hex(raw) == sign(town.home.payer, quote["opening"])
    assert town.start(quote, to_hex(raw)).status_code == 202
    town.desk().tend()
    assert town.locked() == LEAF + FEE


def test_whatever_else_a_server_asks_to_sign_is_not_signed(town: Town) -> None:
    quote = town.ready("ada")
    opening, escrow = quote["opening"], town.world.market.escrow
    data, total = from_hex(opening["data"]), int(quote["total"])
    root = escrow.interface.decode_call(data)[1][4]  # type: ignore[index]
    payee = quote["payees"][0]
    counted = replace(town.home.consents["dario"], max_uses=1)
    wrong: list[tuple[dict[str, Any], str]] = [
        (with_opening(quote, data="0xdeadbeef"), "does not call `open`"),
        (with_opening(quote, data="0x"), "does not call `open`"),
        (with_opening(quote, data=opening["data"] + "00"), "does not call `open`"),
        (with_opening(quote, data=opening["data"][:-2]), "does not call `open`"),
        (with_opening(quote, data=to_hex(escrow.encode("withdraw", 1))), "does not call `open`"),
        (with_opening(quote, chain_id=1), "another chain"),
        (with_opening(quote, to="0x" + "11" * 20), "another contract"),
        (with_opening(quote, value="1"), "money along"),
        (with_opening(quote, gas=30_000_000, max_fee_per_gas=str(10**18)), "more than"),
        (with_opening(quote, nonce=opening["nonce"] + 1), "after another"),
        (with_opening(quote, lane="7"), "another lane"),
        (with_opening(quote, start=opening["start"] + 1), "another start"),
        (with_call(town, quote, runner=b"\x22" * 20), "Another runner"),
        (with_call(town, quote, root=root + 1), f"locks {total + 1} UNITs"),
        (with_call(town, quote, root=root ^ 1 << 200), "pays others"),
        (with_call(town, quote, counted=[counted.as_tuple()]), "uses up a consent"),
        ({**quote, "total": str(total + 1)}, f"locks {total} UNITs"),
        ({**quote, "fee": str(FEE + 1)}, "pays others"),
        ({**quote, "payees": [{**payee, "payee": "0x" + "33" * 20}]}, "pays others"),
        ({**quote, "payees": [{**payee, "amount": str(LEAF - 1)}]}, "pays others"),
        ({**quote, "payees": []}, "pays others"),
        ({**quote, "payees": [payee, payee]}, "none that can be read"),
        ({**quote, "opening": None}, "none that can be read"),
        (with_opening(quote, gas="much"), "none that can be read"),
    ]
    for asked, reason in wrong:
        with pytest.raises(Refused, match=reason):
            check(town, asked)
    with pytest.raises(Refused, match="Another runner"):
        check(town, quote, runner=Address(b"\x44" * 20))
    with pytest.raises(Refused, match="more than 1"):
        check(town, quote, gas=1)


class Lied(script.Trainer):
    """A trainer whose server answers with what the test says."""

    def __init__(self, town: Town, answer: Callable[[], dict[str, Any]]) -> None:
        self.market, self.account, self.say = town.world.market, town.home.payer, lambda _: None
        self.runner, self.gas = runner_of(town), script.OPENING_GAS
        self.posted: list[dict[str, Any]] = []
        self._answer = answer

    def get(self, path: str, **query: Any) -> Any:
        return self._answer()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        self.posted.append(body)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.time, "sleep", lambda _: None)


@pytest.mark.usefixtures("no_pause")
def test_an_opening_that_is_never_taken_is_signed_a_few_times_only(town: Town) -> None:
    quote = town.ready("ada")
    trainer = Lied(town, lambda: quote)
    with pytest.raises(Refused, match="took none"):
        trainer.start(quote)
    assert len(trainer.posted) == script.SIGNATURES


@pytest.mark.usefixtures("no_pause")
def test_a_quote_that_changes_after_it_was_shown_is_not_signed(town: Town) -> None:
    first, dearer = town.ready("ada"), town.ready("ada")
    dearer = {**dearer, "id": first["id"], "total": str(int(first["total"]) + 1)}
    trainer = Lied(town, lambda: dearer)
    with pytest.raises(Refused, match="has changed"):
        trainer.start(first)
    assert len(trainer.posted) == 1


def test_a_server_that_hides_that_the_job_is_open_gets_no_second_opening(town: Town) -> None:
    first, second = town.ready("ada"), town.ready("ada")
    assert town.start(first).status_code == 202
    town.desk().tend()
    raw = town.home.payer.sign_transaction(**check(town, with_opening(first))._asdict())
    trainer = Lied(town, dict)
    again = {**second, "opening": {**second["opening"], "nonce": second["opening"]["nonce"] + 1}}
    with pytest.raises(Refused, match="The job is open"):
        trainer._sign(again, [raw])


@pytest.mark.usefixtures("no_pause")
def test_a_runner_that_never_answers_is_not_waited_for_for_ever(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    quote = town.ready("ada")
    monkeypatch.setattr(script, "PATIENCE", 0.2)
    with pytest.raises(Unavailable, match="did not open"):
        Lied(town, lambda: {**quote, "state": "signed", "opening": None}).start(quote)
