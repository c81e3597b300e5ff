"""A chain in a JSON file: the headers, logs and code of a real one, and the few reads of state that a verifier makes.

It answers as a node would that keeps nothing else; it never answers for a block, a log or a state that it has not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consent.chain.jsonrpc import METHOD_NOT_FOUND, SERVER_ERROR, Provider, RpcError

_HEADER = ("number", "hash", "parentHash", "timestamp")


class Recorded:
    """Plays a recording back."""

    def __init__(self, path: Path) -> None:
        self._chain = json.loads(path.read_text())

    def request(self, method: str, params: Sequence[Any]) -> Any:
        chain = self._chain
        match method:
            case "eth_chainId":
                return chain["chain_id"]
            case "eth_getBlockByHash":
                return next((block for block in chain["blocks"] if block["hash"] == params[0]), None)
            case "eth_getBlockByNumber":
                wanted = chain["blocks"][-1]["number"] if params[0] == "latest" else params[0]
                return next((block for block in chain["blocks"] if block["number"] == wanted), None)
            case "eth_getCode":
                return chain["code"].get(params[0], "0x")
            case "eth_getLogs":
                return [log for log in chain["logs"] if _matches(log, params[0])]
            case "eth_call" if (answer := chain["reads"].get(_key(params))) is not None:
                return answer
            case "eth_call":
                raise RpcError(SERVER_ERROR, "missing trie node")
        raise RpcError(METHOD_NOT_FOUND, f"the recording has no {method}")

    def close(self) -> None:
        return


class Recorder:
    """Passes requests on and remembers what was read of state."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self._reads: dict[str, str] = {}

    def request(self, method: str, params: Sequence[Any]) -> Any:
        answer = self._inner.request(method, params)
        if method == "eth_call":
            self._reads[_key(params)] = answer
        return answer

    def close(self) -> None:
        return

    def save(self, path: Path, contracts: Sequence[str]) -> None:
        """Write the whole chain with the code of `contracts` and what was read so far."""
        ask = self._inner.request
        head = int(ask("eth_blockNumber", []), 16)
        blocks = [ask("eth_getBlockByNumber", [hex(number), False]) for number in range(head + 1)]
        recording = {
            "chain_id": ask("eth_chainId", []),
            "blocks": [{name: block[name] for name in _HEADER} for block in blocks],
            "logs": ask("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
            "code": {address: ask("eth_getCode", [address, "latest"]) for address in contracts},
            "reads": self._reads,
        }
        path.write_text(json.dumps(recording, indent=0, sort_keys=True) + "\n")


def _key(params: Sequence[Any]) -> str:
    call, block = params
    return f"{call['to']} {call['data']} {block if isinstance(block, str) else block['blockHash']}"


def _matches(log: dict[str, Any], query: dict[str, Any]) -> bool:
    number = int(log["blockNumber"], 16)
    last = query.get("toBlock", "latest")
    if not int(query["fromBlock"], 16) <= number <= (number if last == "latest" else int(last, 16)):
        return False
    if log["address"] not in query.get("address", [log["address"]]):
        return False
    for place, wanted in enumerate(query.get("topics", [])):
        if wanted is None:
            continue
        if place >= len(log["topics"]) or log["topics"][place] not in ([wanted] if isinstance(wanted, str) else wanted):
            return False
    return True
