"""A browser wallet for tests: announced by EIP-6963 in the page, its key and its consent in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as Oracle
from eth_account.messages import encode_defunct, encode_typed_data
from playwright.sync_api import BrowserContext

NAME = "Test Wallet"
ANNOUNCER = """
(() => {
  const request = async ({ method, params }) => {
    const answer = JSON.parse(await window.askWallet(JSON.stringify({ method, params: params ?? [] })));
    if (answer.error !== undefined) throw Object.assign(new Error(answer.error), { code: answer.code });
    return answer.result;
  };
  const info = { uuid: "2f3c6a0e-6d0b-4f6e-9a2c-0d7c4b1e8f55", name: "Test Wallet", rdns: "example.wallet", icon: "" };
  const detail = Object.freeze({ info, provider: Object.freeze({ request }) });
  const announce = () => window.dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
  window.addEventListener("eip6963:requestProvider", announce);
  announce();
})();
"""


@dataclass
class Wallet:
    """Signs with eth_account, which is none of our code. `declines` makes its owner say no, once."""

    key: bytes
    chain_id: int
    declines: bool = False
    signed: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Its account, in lower case."""
        return str(Oracle.from_key(self.key).address).lower()

    def announce(self, context: BrowserContext) -> None:
        """Be there in every page of this context."""
        context.expose_binding("askWallet", lambda _, text: self._answer(json.loads(text)))
        context.add_init_script(ANNOUNCER)

    def _answer(self, asked: dict[str, Any]) -> str:
        method, params = asked["method"], asked["params"]
        if method in ("eth_requestAccounts", "eth_accounts"):
            return json.dumps({"result": [self.address]})
        if method == "eth_chainId":
            return json.dumps({"result": hex(self.chain_id)})
        if self.declines:
            self.declines = False
            return json.dumps({"error": "User rejected the request.", "code": 4001})
        if method == "personal_sign":
            text = bytes.fromhex(params[0].removeprefix("0x"))
            assert params[1].lower() == self.address
            self.texts.append(text.decode())
            return self._sign(encode_defunct(text))
        if method == "eth_signTypedData_v4":
            assert params[0].lower() == self.address
            message = json.loads(params[1])
            self.signed.append(message)
            return self._sign(encode_typed_data(full_message=message))
        return json.dumps({"error": f"{method} is not known.", "code": -32601})

    def _sign(self, message: Any) -> str:
        signature = Oracle.sign_message(message, self.key).signature.hex()
        return json.dumps({"result": "0x" + signature.removeprefix("0x")})
