"""The parts of py-evm that the development chain is made of, imported with care.

Importing py-evm raises the interpreter's recursion limit a hundredfold, for the whole process: after that, a few
kilobytes of nested JSON or CBOR from anybody would overflow the C stack and kill it. So the limit is put back here, and
nothing else may import `eth`. What this costs: contract calls nested deeper than the limit carries are refused.
"""

from __future__ import annotations

import sys

_limit = sys.getrecursionlimit()

from eth.abc import BlockHeaderAPI  # noqa: E402  # after the limit was noted
from eth.chains.base import MiningChain  # noqa: E402
from eth.constants import BLANK_ROOT_HASH, POST_MERGE_DIFFICULTY, POST_MERGE_NONCE  # noqa: E402
from eth.db.backends.base import BaseAtomicDB  # noqa: E402
from eth.exceptions import HeaderNotFound, Revert, TransactionNotFound, VMError  # noqa: E402
from eth.vm.chain_context import ChainContext  # noqa: E402
from eth.vm.forks.prague import PragueVM  # noqa: E402
from eth.vm.forks.prague.state import PragueTransactionExecutor  # noqa: E402
from eth.vm.spoof import SpoofTransaction  # noqa: E402
from eth_utils.exceptions import ValidationError  # noqa: E402

sys.setrecursionlimit(_limit)

__all__ = [
    "BLANK_ROOT_HASH",
    "POST_MERGE_DIFFICULTY",
    "POST_MERGE_NONCE",
    "BaseAtomicDB",
    "BlockHeaderAPI",
    "ChainContext",
    "HeaderNotFound",
    "MiningChain",
    "PragueTransactionExecutor",
    "PragueVM",
    "Revert",
    "SpoofTransaction",
    "TransactionNotFound",
    "VMError",
    "ValidationError",
]
