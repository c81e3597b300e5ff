"""Several endpoints that must agree: what one says alone is not believed.

Promises: a block is known once all know it, the newest is the lowest head that all share, and whatever is read at a
block is asked of all and the same from all. An endpoint that fails, or two that disagree, is `Unavailable` and named.
A transaction goes to all, and one that takes it is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from consent.chain.answers import read_address, read_block, read_logs, read_number, read_receipt
from consent.chain.jsonrpc import Provider, RpcError
from core.errors import AllodError, Unavailable

_TAGS = ("latest", "safe", "finalized", "earliest", "pending")
_STATE = {"eth_call": 1, "eth_getBalance": 1, "eth_getCode": 1, "eth_getTransactionCount": 1, "eth_getStorageAt": 2}
_KNOWN_TO_ALL = ("eth_getBlockByNumber", "eth_getBlockByHash", "eth_getTransactionReceipt")


class AgreeingProvider:
    """Endpoints by name, as one `Provider`. What only a development chain has goes to the first."""

    def __init__(self, endpoints: Sequence[tuple[str, Provider]]) -> None:
        self._endpoints = list(endpoints)

    def close(self) -> None:
        """Let go of every connection."""
        for _, provider in self._endpoints:
            provider.close()

    def request(self, method: str, params: Sequence[Any]) -> Any:
        """What all endpoints answer."""
        if method == "eth_sendRawTransaction":
            return self._send(params)
        if method.startswith(("evm_", "anvil_", "txpool_")):
            return self._endpoints[0][1].request(method, params)
        if method == "eth_getTransactionByHash":  # one that has it in its pool is enough
            return next((found for found in self._ask(method, params) if found is not None), None)
        if method == "eth_estimateGas":
            return self._extreme(method, params, max)
        if method == "eth_maxPriorityFeePerGas":
            return self._extreme(method, params, min)
        if method == "eth_getTransactionCount" and params[1:] == ["pending"]:
            return self._extreme(method, params, max)
        if method == "eth_getBlockByNumber" and params[0] in _TAGS:
            return self._block(params[0], full=params[1])
        return self._same(method, self._pinned(method, list(params)))

    # -- asking -------------------------------------------------------------------------------------------------------

    def _try(self, method: str, params: Sequence[Any]) -> list[tuple[str, Any]]:
        """Every endpoint's answer or `RpcError`, by name."""
        answers: list[tuple[str, Any]] = []
        for name, provider in self._endpoints:
            try:
                answers.append((name, provider.request(method, params)))
            except RpcError as error:
                answers.append((name, error))
            except Unavailable as error:
                hint = "Every endpoint of ALLOD_RPC_URL must answer: repair this one, or take it out."
                raise Unavailable(error.message, hint=hint, **error.detail) from None
        return answers

    def _ask(self, method: str, params: Sequence[Any]) -> list[Any]:
        answers = [answer for _, answer in self._try(method, params)]
        for answer in answers:
            if isinstance(answer, RpcError):
                raise answer
        return answers

    def _extreme(self, method: str, params: Sequence[Any], choose: Callable[[list[int]], int]) -> str:
        try:
            return hex(choose([read_number(answer) for answer in self._ask(method, params)]))
        except AllodError:
            raise Unavailable(f"An RPC endpoint answered {method} with something malformed.") from None

    def _same(self, method: str, params: Sequence[Any]) -> Any:
        answers = self._try(method, params)
        if method in _KNOWN_TO_ALL and any(answer is None for _, answer in answers):
            return None
        first, answer = answers[0]
        for name, other in answers[1:]:
            if _essence(first, method, params, answer) != _essence(name, method, params, other):
                raise Unavailable(
                    f"The chain's RPC endpoints at {first} and {name} disagree about {method}.",
                    hint="Nothing was decided. Find out which one is right, and take the other out of ALLOD_RPC_URL.",
                )
        if isinstance(answer, RpcError):
            raise answer
        return answer

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _block(self, tag: str, *, full: bool) -> Any:
        """The block under a tag that all have: the lowest of their answers, which the others must share."""
        heads = self._ask("eth_getBlockByNumber", ["latest" if tag == "pending" else tag, full])
        try:
            lowest = min(read_number(head["number"]) for head in heads)
        except (AllodError, TypeError, KeyError):
            return None
        return self._same("eth_getBlockByNumber", [hex(lowest), full])

    def _pinned(self, method: str, params: list[Any]) -> list[Any]:
        """The same question with blocks that all endpoints understand alike in the place of tags."""
        place = _STATE.get(method)
        if place is not None:
            tag = params[place] if len(params) > place else "latest"
            if tag in _TAGS:
                block = self._known(tag)
                params[place:] = [{"blockHash": block["hash"], "requireCanonical": True}]
        if method == "eth_getLogs" and "blockHash" not in params[0]:
            ends = {name: params[0].get(name, "latest") for name in ("fromBlock", "toBlock")}
            ends = {name: self._known(end)["number"] if end in _TAGS else end for name, end in ends.items()}
            params = [{**params[0], **ends}]
        return params

    def _known(self, tag: str) -> Any:
        block = self._block(tag, full=False)
        if block is None:
            raise Unavailable(f"The chain's RPC endpoints share no {tag} block.", hint="Wait until they are in step.")
        return block

    # -- sending ------------------------------------------------------------------------------------------------------

    def _send(self, params: Sequence[Any]) -> Any:
        taken, refusals = [], list[Exception]()
        for _, provider in self._endpoints:
            try:
                taken.append(provider.request("eth_sendRawTransaction", params))
            except (RpcError, Unavailable) as error:
                refusals.append(error)
        if taken:
            return taken[0]
        raise next((error for error in refusals if isinstance(error, RpcError)), refusals[0])


def _essence(name: str, method: str, params: Sequence[Any], answer: Any) -> Any:
    """What has to be the same in two answers; makes of node differ in the rest."""
    if isinstance(answer, RpcError):
        return "error", answer.data
    try:
        if method in ("eth_getBlockByNumber", "eth_getBlockByHash"):
            senders = [
                (read_address(tx["from"]), tx["nonce"], tx["hash"]) for tx in answer["transactions"] if params[1]
            ]
            return read_block(answer), read_number(answer["baseFeePerGas"]), senders
        if method == "eth_getLogs":
            return read_logs(answer)
        if method == "eth_getTransactionReceipt":
            return read_receipt(answer)
    except (AllodError, TypeError, KeyError, ValueError, AttributeError):
        raise Unavailable(
            f"The chain's RPC endpoint at {name} answered {method} with something malformed.",
            hint="Take it out of ALLOD_RPC_URL.",
        ) from None
    return answer
