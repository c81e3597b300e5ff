"""A whole job whose keepers answer over HTTP: released, trained, settled, and every keeper's log in its right."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from consent.keeper import audit
from consent.keeper.client import Patience
from consent.keeper.hindsight import Hindsight
from consent.keeper.http import serving
from consent.keeper.port import KeeperPort
from consent.keeper.remote import HttpPort
from consent.tree import SumTree
from core.listening import listen
from finetune.releasing import receipts_of
from tests.job.test_lifecycle import finish, full, paper
from tests.job.worlds import World

pytestmark = pytest.mark.needs_trainer
PATIENT = 120.0


def test_a_job_runs_with_keepers_over_http_and_an_audit_finds_nothing(world: World) -> None:
    with ExitStack() as stack:
        ports: list[KeeperPort] = []
        for keeper in world.keepers:
            url = stack.enter_context(serving(keeper, listen("127.0.0.1", 0)))
            port = HttpPort(url, timeout=PATIENT)
            stack.callback(port.close)
            ports.append(port)
        site = paper(world, ports=ports, patience=Patience(hedge=PATIENT, answer=PATIENT))
        job = world.job(["ada", "bruno", "dario"])
        done = finish(world, job, site)
        assert done.outcome == "settled"
        assert [world.amount(done.final, name) for name in ("ada", "bruno", "dario")] == [full("ada"), full("bruno"), 0]
        opening = SumTree.decode(job.get("tree.cbor"))
        receipts = receipts_of(job)
        assert {receipt.keeper for receipt in receipts} == {1, 2}
        for index, address in enumerate(world.committee.addresses, start=1):
            entries, promise = audit.fetch_log(ports[index - 1], address)
            log = audit.read(entries, [promise], [receipt for receipt in receipts if receipt.keeper == index])
            hindsight = Hindsight(world.market, lambda _: opening)
            hindsight.check(log)
            assert (log.flaws, hindsight.notes) == ([], [])
            assert (
                log.kinds == {"closed": 1, "release": 2, "settlement": 1}
                if index < 3
                else {"closed": 1, "settlement": 1}
            )
