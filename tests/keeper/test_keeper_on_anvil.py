"""A keeper process with a real node behind it, whose safe block is not its latest."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.keeper import keeper, open_job
from consent.keeper.log import Entry
from consent.keeper.receipt import Receipt
from consent.keeper.remote import HttpPort
from consent.keeper.store import StoredLog
from consent.keeper.trees import write_deposit
from consent.keeper.wire import read_reply
from core.errors import Refused
from tests.real import running_anvil

pytestmark = pytest.mark.needs_nodes


def test_a_keeper_process_decides_by_two_blocks_of_a_real_node(tmp_path: Path) -> None:
    with running_anvil(tmp_path / "anvil") as anvil:
        job = open_job(tmp_path, anvil.url)
        with keeper(tmp_path, anvil.url) as (url, _):
            port = HttpPort(url, timeout=120)
            read_reply(port.call("tree", write_deposit(job.order, job.tree)), ("job",), "The reply")
            reply = read_reply(port.call("release", job.ask_for(64)), ("shares", "receipt"), "The reply")
            assert len(reply["shares"]) == 64
            receipt = Receipt.read(reply["receipt"])
            receipt.verify(job.order.chain_id, job.order.escrow, job.committee.addresses[0])
            safe, latest = job.chain.block(receipt.safe), job.chain.block(receipt.latest)
            assert safe.number < latest.number
            contracts = job.place.contracts(job.chain)
            consent = job.request.consent.as_tuple()
            contracts.consent_token.transact(job.trainer, "surrender", [consent])
            assert job.chain.block("safe").number < job.chain.block().number
            with pytest.raises(Refused, match="gave it back"):  # unrevoked at safe, and that is not enough
                read_reply(port.call("release", job.ask_for(1)), ("shares", "receipt"), "The reply")
            port.close()
        assert [Entry.decode(data).kind for data in StoredLog(tmp_path / "1" / "keeper.sqlite").entries()] == [
            "release"
        ]
        job.chain.close()
