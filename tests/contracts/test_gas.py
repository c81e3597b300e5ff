"""The committed gas table is what the contracts use, and every goal is met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consent.chain.jsonrpc import HttpProvider
from tests.contracts.gas_table import GOALS, NOON, PATH, measure, table
from tests.contracts.world import AnvilChain, deploy_world
from tests.real import running_anvil


@pytest.fixture(scope="module")
def measured() -> dict:
    return table()


def test_the_committed_gas_table_is_what_the_contracts_use(measured: dict) -> None:
    committed = json.loads(PATH.read_text())
    assert measured == committed, "run `python -m tests.contracts.gas_table` and look at what changed"


@pytest.mark.needs_nodes
def test_anvil_uses_exactly_the_same_gas(tmp_path: Path) -> None:
    start = int(NOON)
    with (
        running_anvil(tmp_path / "anvil", "--timestamp", str(start)) as node,
        AnvilChain(HttpProvider(node.url, timeout=60), begin=start + 1) as chain,
    ):
        assert measure(deploy_world(chain)) == json.loads(PATH.read_text())["gas"]


@pytest.mark.parametrize("row", GOALS)
def test_the_goal_is_met(measured: dict, row: str) -> None:
    assert measured["gas"][row] <= GOALS[row]


def test_what_a_job_costs_does_not_grow_with_its_owners(measured: dict) -> None:
    one = measured["gas"]["open + confirm, reused lane, 1 owner"]
    many = measured["gas"]["open + confirm, reused lane, 10,000 owners"]
    assert one == many
