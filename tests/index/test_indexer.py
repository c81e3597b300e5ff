"""Whatever a chain does, the index is what one begun now would be; whatever a node says wrongly is not written."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

import consent.index.indexer as following
from allod import schema
from consent.chain.answers import read_logs
from consent.chain.client import Chain
from consent.index.indexer import Indexer
from core.database import open_engine
from core.errors import Unavailable
from tests.index.fork_tree import DEPLOYMENT, FIRST, LAYOUTS, ForkTree, Rebuilding, clear, indexer, new_engine, rows


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """A short tail and short ranges, so that small trees have all kinds of rounds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TAIL": 4, "SPAN": 3, "FEW": 4, "MANY": 9}.items():
            patch.setattr(following, name, value)
        yield


@pytest.fixture(scope="module")
def database() -> Iterator[Engine]:
    engine = new_engine()
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database: Engine) -> Engine:
    clear(database)
    return database


@pytest.fixture(scope="module")
def rebuilt() -> Iterator[Rebuilding]:
    engine = new_engine()
    yield Rebuilding(engine)
    engine.dispose()


@pytest.fixture
def node() -> ForkTree:
    node = ForkTree(random.Random(7))
    node.grow(20)
    return node


def all_events(node: ForkTree) -> list[Any]:
    """What the generic decoder makes of every log of the chain."""
    logs = read_logs([log for block in node.chain for log in block.logs])
    found = [event for one in DEPLOYMENT.contracts(Chain(node)) for event in one.decode(logs)]
    return sorted(found, key=lambda item: (item.block_number, item.log_index))


def indexed_events(index: Indexer) -> list[Any]:
    found = [item for key in LAYOUTS._by_name for item in index.events(*key)]
    return sorted(found, key=lambda item: (item.block_number, item.log_index))


def test_the_index_holds_every_event_as_the_generic_decoder_reads_it(node: ForkTree, engine: Engine) -> None:
    index = indexer(node, engine)
    head = index.follow()
    assert (head.number, head.hash) == (20, node.chain[-1].hash)
    assert index.head == head
    assert indexed_events(index) == all_events(node) != []


def test_events_are_found_by_their_arguments(node: ForkTree, engine: Engine) -> None:
    node.grow(60)
    index = indexer(node, engine)
    index.follow()
    for contract, name in LAYOUTS._by_name:
        everything = index.events(contract, name)
        for argument, value in everything[0].args.items():
            some = index.events(contract, name, **{argument: value})
            assert some == [item for item in everything if item.args[argument] == value] != []


Step = st.one_of(
    st.tuples(st.just("grow"), st.integers(1, 12), st.just(0)),
    st.tuples(st.just("fork"), st.integers(1, 40), st.integers(0, 12)),
    st.tuples(st.just("follow"), st.just(0), st.just(0)),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(Step, max_size=8), seed=st.integers(0, 2**32), refuse=st.sampled_from([1, 2, 5, 10**9]))
def test_after_any_growth_and_any_fork_the_rows_are_those_of_a_new_index(
    database: Engine, rebuilt: Rebuilding, steps: list[tuple[str, int, int]], seed: int, refuse: int
) -> None:
    clear(database)
    node = ForkTree(random.Random(seed), refuse=refuse)
    index = indexer(node, database)
    for what, count, then in [*steps, ("follow", 0, 0)]:
        if what == "grow":
            node.grow(count)
        elif what == "fork":
            node.fork(count, then)
        else:
            index.follow()
            assert rows(database) == rebuilt(node)
            assert indexed_events(index) == all_events(node)


def test_a_fork_below_everything_empties_the_index(node: ForkTree, engine: Engine, rebuilt: Rebuilding) -> None:
    index = indexer(node, engine)
    index.follow()
    node.fork(100, 1)  # genesis and one other block: before the first that matters
    assert index.follow().number == FIRST - 1
    assert rows(engine) == rebuilt(node)
    assert indexed_events(index) == []


@pytest.mark.parametrize("depth", [2, 11])
def test_a_fork_between_any_two_requests_is_noticed(depth: int, engine: Engine, rebuilt: Rebuilding) -> None:
    asked = 0
    for moment in range(1, 60):
        clear(engine)
        node = ForkTree(random.Random(moment))
        node.grow(14)
        index, asked = indexer(node, engine), 0

        def count(_method: str, _params: Any, node: ForkTree = node, moment: int = moment) -> None:
            nonlocal asked
            asked += 1
            if asked == moment:
                node.fork(depth, depth + 1)

        node.before = count
        index.follow()
        node.before = lambda method, params: None
        index.follow()
        assert rows(engine) == rebuilt(node)
        if asked < moment:
            return
    raise AssertionError("one round takes fewer requests than that")


def test_a_node_whose_chain_never_stands_still_is_unavailable(node: ForkTree, engine: Engine) -> None:
    def restless(method: str, _params: Any) -> None:
        if method == "eth_getLogs":
            node.fork(100, 20)

    node.before = restless
    with pytest.raises(Unavailable, match="something else at every request"):
        indexer(node, engine).follow()
    assert rows(engine)[1:] == [[], []]


def log_spoiler(**changes: Any) -> Any:
    """Change the last log of each answer that has one."""

    def spoil(method: str, answer: Any) -> Any:
        return [*answer[:-1], answer[-1] | changes] if method == "eth_getLogs" and answer else answer

    return spoil


def every_log(change: Any) -> Any:
    return lambda method, answer: change(answer) if method == "eth_getLogs" and answer else answer


def block_spoiler(**changes: Any) -> Any:
    return lambda method, answer: answer | changes if answer and method != "eth_getLogs" else answer


@pytest.mark.parametrize("blocks", [3, 20])
@pytest.mark.parametrize(
    "spoil",
    [
        log_spoiler(address="0x" + "09" * 20),
        log_spoiler(removed=True),
        log_spoiler(blockNumber=hex(FIRST - 1)),
        log_spoiler(blockNumber=hex(10_000)),
        log_spoiler(blockHash="0x" + "00" * 32),
        log_spoiler(blockHash="0x" + "00" * 31),
        log_spoiler(topics=[]),
        log_spoiler(data="0xnothex"),
        every_log(lambda logs: [*logs, logs[-1]]),
        every_log(lambda logs: [logs[0], *logs]),
        every_log(lambda logs: "0x"),
        every_log(lambda logs: None),
        lambda method, answer: None if method == "eth_getBlockByHash" else answer,
        lambda method, answer: None,
        lambda method, answer: {"error": "what?"},
        block_spoiler(hash="0x" + "01" * 32),
        block_spoiler(number="0x7"),
        block_spoiler(timestamp=None),
        block_spoiler(parentHash="0x" + "77" * 32),
    ],
)
def test_a_node_that_lies_is_unavailable_and_nothing_is_written(
    blocks: int, spoil: Any, engine: Engine, rebuilt: Rebuilding
) -> None:
    node = ForkTree(random.Random(3))
    node.grow(8)
    index = indexer(node, engine)
    index.follow()
    node.grow(blocks)
    node.spoil = spoil
    with pytest.raises(Unavailable):
        index.follow()
    assert rows(engine) == rebuilt(node.as_of(index.head.number))  # a range that was answered well may stand
    assert blocks > 3 or index.head.number == 8
    node.spoil = lambda method, answer: answer
    index.follow()
    assert rows(engine) == rebuilt(node)


def test_events_out_of_order_are_unavailable(engine: Engine) -> None:
    node = ForkTree(random.Random(3))
    node.grow(8)
    node.spoil = every_log(lambda logs: logs[::-1])
    with pytest.raises(Unavailable):
        indexer(node, engine).follow()
    assert rows(engine)[1:] == [[], []]


def test_a_head_that_lies_behind_its_own_blocks_is_followed_and_a_missing_block_is_not(
    node: ForkTree, engine: Engine, rebuilt: Rebuilding
) -> None:
    index = indexer(node, engine)
    index.follow()
    for shorter in range(1, 8):  # evm_revert, or a node that lags: to a block with events, or without
        node.fork(1, 0)
        assert index.follow().number == 20 - shorter
        assert rows(engine) == rebuilt(node)
    node.grow(3)
    before = rows(engine)
    missing = node.chain[-2].document()
    node.spoil = lambda method, answer: None if answer == missing else answer
    with pytest.raises(Unavailable):
        index.follow()
    assert rows(engine) == before


def test_a_crash_at_any_statement_leaves_the_index_before_or_after_a_round(
    node: ForkTree, engine: Engine, rebuilt: Rebuilding
) -> None:
    class Crash(Exception):
        pass

    for moment in range(1, 200):
        clear(engine)
        statements = 0
        indexer(node, engine).follow()
        branch = node.as_of(12)
        branch.grow(12)

        def crash(*_args: Any, moment: int = moment) -> None:
            nonlocal statements
            statements += 1
            if statements == moment:
                raise Crash

        index = indexer(branch, engine)
        event.listen(engine, "before_cursor_execute", crash)
        try:
            index.follow()
        except Crash:
            crashed = True
        else:
            crashed = False
        finally:
            event.remove(engine, "before_cursor_execute", crash)
        if crashed:
            kept = rows(engine)
            assert kept in [rebuilt(tree.as_of(kept[0][0][2])) for tree in (node, branch)]
            index.follow()
        assert rows(engine) == rebuilt(branch)
        if not crashed:
            return
    raise AssertionError("a round takes fewer statements than that")


def test_two_indexers_on_one_database_write_every_row_once(tmp_path: Path, rebuilt: Rebuilding) -> None:
    engines = [open_engine(f"sqlite:///{tmp_path / 'allod.db'}") for _ in range(2)]
    schema.upgrade(engines[0])
    node, failures = ForkTree(random.Random(11)), []
    start = threading.Barrier(3)

    def work(engine: Engine) -> None:
        try:
            start.wait(60)
            index = indexer(node, engine)
            for _ in range(12):
                index.follow()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    start.wait(60)
    for step in range(12):
        node.fork(6 * (step % 3 // 2), 5)  # every third time the chain gives up six blocks
    for thread in threads:
        thread.join(120)
    assert failures == []
    indexer(node, engines[1]).follow()
    assert rows(engines[0]) == rebuilt(node)
    for engine in engines:
        engine.dispose()


def test_contracts_of_another_deployment_have_rows_of_their_own(node: ForkTree, engine: Engine) -> None:
    from dataclasses import replace

    index = indexer(node, engine)
    index.follow()
    before = indexed_events(index)
    other = Indexer(Chain(node), replace(DEPLOYMENT, first_block=10), engine)
    other.follow()
    assert indexed_events(index) == before
    assert indexed_events(other) == [item for item in before if item.block_number >= 10]


def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones(
    node: ForkTree, engine: Engine, rebuilt: Rebuilding
) -> None:
    node.grow(100, most=0)
    asked: list[int] = []

    def note(method: str, params: Any) -> None:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            asked.append(int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1)

    node.before, node.refuse = note, 8
    indexer(node, engine).follow()
    refused = [length for length in asked if length > 8]
    assert len(refused) == 1  # what was refused once is not asked for again
    assert max(length for length in asked if length <= 8) > 3  # and it grew up to there
    node.before = lambda method, params: None
    assert rows(engine) == rebuilt(node)


def test_a_node_that_refuses_even_one_block_is_unavailable(node: ForkTree, engine: Engine) -> None:
    node.refuse = 0
    with pytest.raises(Unavailable, match="exceeds"):
        indexer(node, engine).follow()
