from __future__ import annotations

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import create
from core.errors import Refused


def test_a_contract_is_deployed_written_and_read_at_a_pinned_block(chain: Chain, dev: Account, diary) -> None:
    book, _ = create(chain, dev, diary.abi, diary.bytecode)
    first = book.transact(dev, "write", 5)
    book.transact(dev, "write", 6)
    assert book.read("value") == 6
    assert book.read("value", block=first.block_hash) == 5
    assert book.read("value", block=first.block_number - 1) == 0
    events = book.events("Written", author=dev.address)
    assert [event.args["value"] for event in events] == [5, 6]
    assert events[0].args == {"author": dev.address, "value": 5, "note": "dear diary"}
    assert book.decode(first.logs) == [events[0]]


@pytest.mark.parametrize("gas", [None, 100_000])
def test_a_contracts_refusal_carries_its_reason(chain: Chain, dev: Account, diary, gas: int | None) -> None:
    book, _ = create(chain, dev, diary.abi, diary.bytecode)
    with pytest.raises(Refused, match="seven is refused") as caught:
        book.transact(dev, "write", 7, gas=gas)
    assert caught.value.detail["reason"] == "seven is refused"
    assert book.read("value") == 0
