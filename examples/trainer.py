"""A trainer's whole story over HTTP: sign in, find a dataset, get a consent, quote, sign, start, watch, download.

    python examples/trainer.py --server http://127.0.0.1:8600 --rpc http://127.0.0.1:8545 --words words.txt \
        --find "valley" --base demo --epochs 3 --out adapter.tar

`words.txt` holds 24 words (`allod vault init` shows them once): the account is the one below them. The key never leaves
this program. The server is asked for everything but three things, which only the account itself can send to the chain:
taking an offer, depositing, and opening the job; the last is signed here and sent by the runner, and only signed if it
opens exactly the job of the quote that was shown (`check_opening`). Every step is a JSON line on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from consent.chain.account import Account, Transaction
from consent.chain.client import Chain
from consent.chain.deployment import Deployment, faucet
from consent.chain.embedded import developer
from consent.chain.wallet import personal_digest
from consent.grant import Consent
from consent.market.granting import SignedConsent, check_signature, consent_id, take
from consent.market.paying import balance, deposit
from consent.market.place import Market
from consent.money import base_units, unit_of
from consent.tree import FEE, Leaf, SumTree, sum_of
from consent.typed import keccak
from core.encoding import from_hex, to_hex
from core.errors import AllodError, Refused, Unavailable
from core.ids import Address, ConsentId
from vault.rootkey import RootKey

GAS_MONEY = 10**18  # wei that a trainer gets on a development chain
OPENING_GAS = GAS_MONEY // 10  # wei at most for the gas of an opening
SIGNATURES = 8  # of one opening, where the chain does not take it
PATIENCE = 3600.0  # seconds for an owner's answer or a job's end
_DESCRIBED = ("recipe", "payees", "fee", "total")  # what of a quote is shown, and then stays


class Trainer:
    """One account at one server. `say` hears of every step.

    `runner` is whom jobs are opened with (None: whom the server names at the first quote), `gas` the wei that an
    opening may cost at most.
    """

    def __init__(
        self,
        server: str,
        chain: Chain,
        account: Account,
        say: Callable[[dict[str, Any]], None],
        *,
        runner: Address | None = None,
        gas: int = OPENING_GAS,
    ) -> None:
        self.server = server.rstrip("/")
        self.account = account
        self.say = say
        self.runner = runner
        self.gas = gas
        self._http = httpx.Client(base_url=self.server, timeout=60.0, headers={"Origin": self.server})
        world = self.get("/v1/world")
        self.world = world
        contracts = {name: Address(from_hex(value, 20)) for name, value in world["contracts"].items()}
        unit = unit_of(world["currency"]["decimals"])
        deployment = Deployment(chain_id=world["chain_id"], **contracts, unit=unit, first_block=0)
        self.market = Market(chain, deployment)

    # -- asking -------------------------------------------------------------------------------------------------------

    def get(self, path: str, **query: Any) -> Any:
        """A document of the server."""
        return _read(self._http.get(path, params={name: value for name, value in query.items() if value is not None}))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Do one thing, once, even if this has to be sent twice."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        try:
            return _read(self._http.post(path, json=body, headers=headers))
        except httpx.TransportError:
            return _read(self._http.post(path, json=body, headers=headers))

    def wait(self, look: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
        """What `look` gives once it gives anything."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = look()
            if found is not None:
                return found
            time.sleep(0.3)
        raise Unavailable(f"{what} did not come.", hint="Run this again later.")

    # -- the story ----------------------------------------------------------------------------------------------------

    def sign_in(self) -> None:
        """Sign in with Ethereum (EIP-4361)."""
        nonce, now = self.post("/v1/nonces", {})["nonce"], time.time()
        lines = [
            f"{self.server.partition('://')[2]} wants you to sign in with your Ethereum account:",
            to_hex(self.account.address),
            "",
            "Sign in to Allod.",
            "",
            f"URI: {self.server}",
            "Version: 1",
            f"Chain ID: {self.world['chain_id']}",
            f"Nonce: {nonce}",
            f"Issued At: {_iso(now)}",
            f"Expiration Time: {_iso(now + 300)}",
        ]
        message = "\n".join(lines)
        signature = to_hex(self.account.sign_hash(personal_digest(message.encode())))
        session = self.post("/v1/sessions", {"message": message, "signature": signature})
        self._http.headers["X-CSRF-Token"] = session["csrf_token"]
        self.say({"step": "signed in", "account": session["account"]})

    def find(self, words: str, purpose: str) -> dict[str, Any]:
        """The newest dataset that has these words and allows the purpose."""

        def look() -> Any:
            found = self.get("/v1/datasets", q=words, purpose=purpose, limit=1)["data"]
            return self.get(f"/v1/datasets/{found[0]['asset']}") if found else None

        dataset: dict[str, Any] = self.wait(look, f"A dataset about {words!r}")
        self.say({"step": "found", "asset": dataset["asset"], "title": dataset["title"], "owner": dataset["owner"]})
        return dataset

    def consent_for(self, dataset: dict[str, Any], purpose: str, epochs: int, message: str) -> str:
        """The id of a live token over the dataset: one that is held, else an offer taken, else one asked for."""
        held = self._held(dataset["asset"], purpose)
        if held is not None:
            return str(held)
        offer = next((one for one in dataset["offers"] if one["purpose"] == purpose), None)
        if offer is not None:
            return self._take(offer)
        return self._ask(dataset, purpose, epochs, message)

    def _held(self, asset: str, purpose: str) -> str | None:
        mine, after = to_hex(self.account.address), None
        while True:
            page = self.get("/v1/consents", role="trainer", limit=100, after=after)
            for one in page["data"]:
                for token in one["tokens"]:
                    live = token["status"] == "live" and token["holder"] == mine
                    if live and one["consent"]["asset"] == asset and one["purpose"] == purpose:
                        return str(token["id"])
            if not page["has_more"]:
                return None
            after = page["next_after"]

    def _take(self, offer: dict[str, Any]) -> str:
        self._have_gas()
        signed = SignedConsent(_consent(offer["consent"]), from_hex(offer["signature"]))
        check_signature(self.market, signed)
        token, sent = take(self.market, self.account, signed)
        self.say({"step": "took the offer", "token": to_hex(token), "transaction": to_hex(sent.tx_hash)})
        return to_hex(token)

    def _ask(self, dataset: dict[str, Any], purpose: str, epochs: int, message: str) -> str:
        terms = dataset["terms"]
        asked = self.post(
            "/v1/requests",
            {
                "asset": dataset["asset"],
                "purpose": purpose,
                "max_epochs": epochs,
                "base_models": [],
                "max_uses": 1,
                "expiry": int(time.time()) + 30 * 86400,
                "flat": terms["flat"],
                "per_record_epoch": terms["per_record_epoch"],
                "message": message,
                "days_open": 14,
            },
        )
        self.say({"step": "asked", "request": asked["id"]})

        def answered() -> Any:
            found = self.get(f"/v1/requests/{asked['id']}")
            return None if found["state"] == "open" else found

        answer = self.wait(answered, "The owner's answer")
        self.say({"step": "answered", "state": answer["state"]})
        if answer["state"] not in ("approved", "approved_with_changes"):
            raise Refused(f"The owner answered: {answer['state']}.", hint="Look for another dataset.")
        return str(self.wait(lambda: self._held(dataset["asset"], purpose), "The consent token", seconds=120))

    def quote(self, consents: list[str], recipe: dict[str, Any], fee: int) -> dict[str, Any]:
        """What a job costs; money that is missing is deposited first, and then it is quoted again."""
        self._have_gas()
        for _ in range(2):
            asked = self.post("/v1/quotes", {"consents": consents, "recipe": recipe, "fee": str(fee)})
            found = self._answered(asked["id"])
            missing = ((found.get("problem") or {}).get("detail") or {}).get("missing")
            if found["state"] != "refused" or not isinstance(missing, int):
                break
            self._deposit(missing)
        if found["state"] != "ready":
            told = found["problem"] or {}
            raise Refused(str(told.get("title", found["state"])), hint=str(told.get("next", "")))
        if int(found["fee"]) != fee or not {one["consent"] for one in found["payees"]} <= set(consents):
            raise Refused("The quote is for another job than was asked for.", hint="Do not use this server.")
        if self.runner is None:
            self.runner = Address(from_hex(self.get("/v1/world")["runner"]["address"], 20))
        shown = {name: found[name] for name in ("payees", "fee", "total")}
        self.say({"step": "quoted", "quote": found["id"], "runner": to_hex(self.runner), **shown})
        return found

    def _answered(self, quote: str) -> dict[str, Any]:
        def answered() -> Any:
            found = self.get(f"/v1/quotes/{quote}")
            return None if found["state"] == "waiting" else found

        found: dict[str, Any] = self.wait(answered, "The runner's quote")
        return found

    def _have_gas(self) -> None:
        chain = self.market.chain
        if chain.is_development and chain.balance(self.account.address) < GAS_MONEY // 10:
            faucet(chain, developer(), self.market.currency, self.account.address, GAS_MONEY, 0)

    def _deposit(self, units: int) -> None:
        self._have_gas()
        chain, wanted = self.market.chain, base_units(units, self.market.decimals)
        lacking = wanted - balance(self.market, self.account.address).tokens
        if chain.is_development and lacking > 0:
            faucet(chain, developer(), self.market.currency, self.account.address, 0, lacking)
        sent = deposit(self.market, self.account, units)
        self.say({"step": "deposited", "units": str(units), "transaction": to_hex(sent.tx_hash)})

    def start(self, quote: dict[str, Any]) -> dict[str, Any]:
        """Sign the opening and hand it over, until the runner has opened the job; the job.

        What the chain did not take is signed again as it is quoted then, a few times; nothing was locked.
        """
        shown, signed = {name: quote[name] for name in _DESCRIBED}, list[bytes]()
        deadline = time.monotonic() + PATIENCE
        while quote["state"] != "opened":
            if time.monotonic() > deadline:
                raise Unavailable("The runner did not open the job.", hint="Look at the quote again later.")
            if quote["state"] == "ready":
                if {name: quote[name] for name in _DESCRIBED} != shown:
                    raise Refused("The quote has changed since it was shown.", hint="Do not use this server.")
                signed.append(self._sign(quote, signed))
                self.post("/v1/jobs", {"quote": quote["id"], "transaction": to_hex(signed[-1])})
            elif quote["state"] in ("refused", "expired"):
                raise Refused(f"The quote is {quote['state']}: {quote['problem']}.", hint="Ask for another.")
            time.sleep(0.2)
            quote = self.get(f"/v1/quotes/{quote['id']}")

        def open_job() -> Any:
            found = self.get(f"/v1/jobs/{quote['job']}")
            return found if found["job_id"] else None

        job: dict[str, Any] = self.wait(open_job, "The job")
        self.say({"step": "started", "job": job["id"], "job_id": job["job_id"]})
        return job

    def _sign(self, quote: dict[str, Any], before: list[bytes]) -> bytes:
        """Sign the opening, unless one that was signed `before` has happened: a second would lock as much again."""
        if self.runner is None:
            raise Refused("It is not known who runs the job.", hint="Quote it first.")
        asked = check_opening(self.market, quote, self.account.address, self.runner, self.gas)
        receipts = [self.market.chain.receipt(keccak(raw)) for raw in before]
        if any(receipt is not None and receipt.success for receipt in receipts):
            raise Refused("The job is open, and the server asks for another opening.", hint="Do not use this server.")
        if len(before) == SIGNATURES:
            raise Refused(f"The chain took none of {SIGNATURES} openings.", hint="Ask for another quote later.")
        return self.account.sign_transaction(**asked._asdict())

    def watch(self, job: str) -> dict[str, Any]:
        """Follow a job's events to its end, over any number of connections; the job as it ended."""
        last = 0
        while True:
            try:
                for number, kind, data in self._events(job, last):
                    last = number
                    self.say({"step": "event", "id": number, "kind": kind, "data": data})
                    if kind == "failed":
                        raise Refused(str(data.get("note")), hint=str(data.get("next", "")))
                    if kind == "published":
                        return dict(self.wait(lambda: self._over(job), "The end", seconds=60))
            except httpx.TransportError:
                time.sleep(1.0)

    def _over(self, job: str) -> Any:
        found = self.get(f"/v1/jobs/{job}")
        return found if found["published"] else None

    def _events(self, job: str, last: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(last)}
        with self._http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
                _read(answer)
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    yield event["id"], event["kind"], event["data"]

    def download(self, job_id: str, place: Path) -> None:
        """The job's public bundle."""
        with self._http.stream("GET", f"/v1/jobs/{job_id}/bundle") as answer, place.open("wb") as file:
            if answer.status_code != 200:
                answer.read()
                _read(answer)
            for piece in answer.iter_bytes():
                file.write(piece)
        self.say({"step": "downloaded", "file": str(place)})

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()


def check_opening(
    market: Market, quote: dict[str, Any], payer: Address, runner: Address, gas_money: int
) -> Transaction:
    """The transaction that a ready quote asks to sign, if all that it does is to open the job that the quote describes.

    Nobody's word is taken for what the call data says: the tree of payments is built anew from the payees and the fee,
    and its root compared. `Refused` says what is another. `gas_money` is the wei that the gas may cost at most.
    """
    try:
        asked, flaws = _read_opening(market, quote, payer, runner)
    except (AllodError, KeyError, TypeError, ValueError):
        raise Refused("The quote is none that can be read.", hint="Do not use this server.") from None
    if asked.gas * asked.max_fee > gas_money:
        flaws.append(f"Its gas may cost {asked.gas * asked.max_fee} wei, more than {gas_money}.")
    if asked.nonce > market.chain.nonce(payer, "latest"):
        flaws.append("It is to be sent after another transaction.")
    if flaws:
        raise Refused(f"The quote asks to sign something else than its job. {' '.join(flaws)}", hint="Sign nothing.")
    return asked


def _read_opening(
    market: Market, quote: dict[str, Any], payer: Address, runner: Address
) -> tuple[Transaction, list[str]]:
    opening = quote["opening"]
    asked = Transaction(
        chain_id=int(opening["chain_id"]),
        nonce=int(opening["nonce"]),
        max_priority_fee=int(opening["max_priority_fee_per_gas"]),
        max_fee=int(opening["max_fee_per_gas"]),
        gas=int(opening["gas"]),
        to=Address(from_hex(opening["to"], 20)),
        value=int(opening["value"]),
        data=from_hex(opening["data"]),
    )
    paid = [
        Leaf(ConsentId(from_hex(one["consent"], 32)), Address(from_hex(one["payee"], 20)), int(one["amount"]))
        for one in quote["payees"]
    ]
    tree = SumTree([*([Leaf(FEE, runner, int(quote["fee"]))] if int(quote["fee"]) else []), *paid])
    called = market.escrow.interface.decode_call(asked.data)
    if called is None or called[0] != "open" or market.escrow.encode("open", *called[1]) != asked.data:
        return asked, ["It does not call `open`."]
    lane, start, who, _, root, counted, _ = called[1]
    spent = {consent_id(market, Consent(*fields), payer) for fields in counted}
    said = (
        (asked.chain_id == market.chain_id, "It is for another chain."),
        (asked.to == market.escrow.address, "It calls another contract."),
        (asked.value == 0, "It sends money along."),
        (who == runner, "Another runner gets the job."),
        (sum_of(root) == int(quote["total"]), f"It locks {sum_of(root)} UNITs, not {quote['total']}."),
        (root == tree.root, "It pays others, or other amounts."),
        ((lane, start) == (int(opening["lane"]), opening["start"]), "It says another lane or another start."),
        (spent <= {leaf.consent_id for leaf in paid}, "It uses up a consent that it does not pay."),
    )
    return asked, [reason for holds, reason in said if not holds]


def _consent(fields: dict[str, Any]) -> Consent:
    """The struct that an owner signed."""
    values: dict[str, Any] = {name: from_hex(fields[name], 32) for name in ("asset", "terms", "purpose")}
    values |= {name: Address(from_hex(fields[name], 20)) for name in ("owner", "grantee", "runner", "escrow")}
    values |= {name: int(fields[name]) for name in ("not_before", "expiry", "max_uses", "nonce")}
    return Consent(**values)


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _read(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        told = answer.json()
    except ValueError:
        told = {}
    raise Refused(str(told.get("detail", f"HTTP {answer.status_code}")), hint=str(told.get("hint", "")))


def main(words: list[str] | None = None) -> int:
    """The story, from the command line."""
    parser = argparse.ArgumentParser(description="A trainer's whole story over HTTP.")
    parser.add_argument("--server", default="http://127.0.0.1:8600")
    parser.add_argument("--rpc", required=True, help="the chain's JSON-RPC")
    parser.add_argument("--words", type=Path, required=True, help="a file with the 24 words")
    parser.add_argument("--find", default="", help="words of the dataset")
    parser.add_argument("--purpose", default="academic-research")
    parser.add_argument("--message", default="", help="to the owner, where no offer is open")
    parser.add_argument("--base", default="demo")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--recipe", type=json.loads, default={}, help="other numbers of the recipe, as JSON")
    parser.add_argument("--fee", type=int, default=0, help="UNITs for the runner")
    parser.add_argument("--runner", help="the address of the only runner that jobs are opened with")
    parser.add_argument("--gas", type=int, default=OPENING_GAS, help="wei at most for the gas of the opening")
    parser.add_argument("--out", type=Path, required=True, help="where the bundle goes (a tar)")
    asked = parser.parse_args(words)

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    account = Account(RootKey.from_words(asked.words.read_text("utf-8")).evm_key())
    recipe = {"base": asked.base, "purpose": asked.purpose, "epochs": asked.epochs, **asked.recipe}
    with Chain.http(asked.rpc) as chain:
        runner = None if asked.runner is None else Address(from_hex(asked.runner, 20))
        trainer = Trainer(asked.server, chain, account, say, runner=runner, gas=asked.gas)
        try:
            trainer.sign_in()
            dataset = trainer.find(asked.find, asked.purpose)
            token = trainer.consent_for(dataset, asked.purpose, asked.epochs, asked.message)
            job = trainer.start(trainer.quote([token], recipe, asked.fee))
            ended = trainer.watch(job["id"])
            say({"step": "done", "outcome": ended["outcome"], "adapter": ended["adapter"]})
            trainer.download(ended["job_id"], asked.out)
        except AllodError as error:
            say({"step": "failed", "why": error.message, "next": error.hint})
            return 1
        finally:
            trainer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
