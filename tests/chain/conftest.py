"""A ten-line contract, a developer, and the same chain reached in process and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consent.chain.account import Account
from consent.chain.client import Chain
from consent.chain.contract import Contract, create
from consent.chain.embedded import EmbeddedChain, developer
from consent.chain.rpc import serving
from tests.real import running_anvil

DIARY = """
# pragma version 0.4.3
struct Page:
    author: address
    number: uint96
interface Diver:
    def dive(depth: uint256) -> uint256: view
event Written:
    author: indexed(address)
    value: uint256
    note: String[32]
value: public(uint256)
@external
def write(x: uint256):
    assert x != 7, "seven is refused"
    assert x != 8
    self.value = x
    log Written(author=msg.sender, value=x, note="dear diary")
@external
def erase():
    self.value = 0
@external
@view
def page(p: Page) -> (address, Page):
    return msg.sender, p
@external
@view
def dive(depth: uint256) -> uint256:
    if depth == 0:
        return 1
    return 1 + staticcall Diver(self).dive(depth - 1)
@external
@view
def moment() -> (uint256, uint256):
    return block.timestamp, block.number
@external
@view
def broken():
    raw_revert(b"\\x12\\x34\\x56\\x78\\x9a")
@external
@view
def impossible():
    assert self.value == 99, UNREACHABLE
"""


@dataclass(frozen=True)
class Compiled:
    abi: list[dict[str, Any]]
    bytecode: bytes


@pytest.fixture(scope="session")
def diary() -> Compiled:
    import vyper

    output = vyper.compile_code(DIARY, output_formats=["abi", "bytecode"])
    return Compiled(output["abi"], bytes.fromhex(output["bytecode"][2:]))


@pytest.fixture
def dev() -> Account:
    return developer()


@pytest.fixture
def embedded() -> Iterator[EmbeddedChain]:
    with EmbeddedChain(None) as chain:
        yield chain


@pytest.fixture(params=["in process", "over http", pytest.param("anvil", marks=pytest.mark.needs_nodes)])
def chain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Chain]:
    """A new chain behind each provider and of each make: whatever holds for one holds for the others."""
    if request.param == "anvil":
        with running_anvil(tmp_path / "anvil") as node, Chain.http(node.url) as client:
            yield client
        return
    embedded = request.getfixturevalue("embedded")
    if request.param == "in process":
        yield Chain.embedded(embedded)
    else:
        with serving(embedded) as url, Chain.http(url) as client:
            yield client


@pytest.fixture
def book(chain: Chain, dev: Account, diary: Compiled) -> Contract:
    return create(chain, dev, diary.abi, diary.bytecode)[0]
