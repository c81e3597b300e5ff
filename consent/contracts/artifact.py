"""One compiled contract as package data: its interface, its bytes, and how they came about.

Promises: what `load` returns is what was committed; its runtime hash was checked against its bytes. `matches` says
whether code on a chain is this contract, whatever its constructor's arguments were.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from typing import Any

from core.encoding import from_hex
from core.errors import Corrupted, NotFound

NAMES = ("DataRegistry", "ConsentToken", "JobEscrow", "TestToken")


@dataclass(frozen=True)
class Artifact:
    """`bytecode` is the creation code without constructor arguments, `runtime` the code without immutables.

    `immutables` is how many bytes of them follow `runtime` on chain; `integrity` is the compiler's hash over all
    sources; `method_ids` maps each signature to its 4-byte selector.
    """

    name: str
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    runtime: bytes
    runtime_sha256: bytes
    immutables: int
    integrity: str
    compiler: str
    evm: str
    optimize: str
    method_ids: dict[str, str]
    storage: dict[str, Any]

    def matches(self, code: bytes) -> bool:
        """Whether `code`, as `eth_getCode` returns it, is this contract with some immutables behind."""
        return code[: len(self.runtime)] == self.runtime and len(code) == len(self.runtime) + self.immutables

    def constants(self, code: bytes) -> list[bytes]:
        """The 32-byte words behind the runtime in code that `matches`: what the constructor fixed."""
        tail = code[len(self.runtime) :]
        return [tail[start : start + 32] for start in range(0, len(tail), 32)]


@lru_cache(maxsize=len(NAMES))
def load(name: str) -> Artifact:
    """The artifact of one of `NAMES`; `NotFound` for another name, `Corrupted` if its bytes miss its hash."""
    if name not in NAMES:
        raise NotFound(f"There is no contract named {name}.", hint=f"The contracts are {', '.join(NAMES)}.")
    text = resources.files("consent.contracts").joinpath("artifacts", f"{name}.json").read_text("utf-8")
    fields: dict[str, Any] = json.loads(text)
    runtime = from_hex(fields["runtime"])
    if sha256(runtime).digest() != from_hex(fields["runtime_sha256"], 32):
        raise Corrupted(
            f"The artifact of {name} does not have the hash it promises.", hint="Install Allod again from a clean copy."
        )
    return Artifact(
        name=fields["name"],
        abi=tuple(fields["abi"]),
        bytecode=from_hex(fields["bytecode"]),
        runtime=runtime,
        runtime_sha256=sha256(runtime).digest(),
        immutables=fields["immutables"],
        integrity=fields["integrity"],
        compiler=fields["compiler"],
        evm=fields["evm"],
        optimize=fields["optimize"],
        method_ids=fields["method_ids"],
        storage=fields["storage"],
    )
