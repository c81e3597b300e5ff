"""The order: a job's preimages, from which its lane word, its hashes and its id follow exactly as in JobEscrow.

Promises: an `Order` that exists is well-formed; `job_id` and `lane_word` exist only once it was opened (`opened` is the
block time at which the escrow opened it). Nothing here reads a chain: who relies on an order compares its lane word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from consent.committee import HPKE_PUBLIC_KEY, MAX_KEEPERS, committee_hash
from consent.fields import UINT40_MAX, UINT64_MAX, UINT256_MAX, constant, exact_list, exact_map, integer, octets
from consent.tree import sum_of
from consent.typed import address_word, bytes32_word, keccak, uint_word
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput
from core.ids import NOBODY, Address, ConsentId, JobId

MAX_COUNTED = 64
MAX_RUN = 30 * 86400  # seconds from opening to `start`, a constant of the escrow
CLAIM_TIME = 180 * 86400  # seconds during which claims last, likewise
_ADDRESSES = ("escrow", "payer", "runner")


def brief_of(recipe_hash: bytes, job_pk: bytes, fee: int) -> bytes:
    """keccak256(recipe_hash ‖ job_pk ‖ u64be fee)."""
    octets(job_pk, "The job's public key", HPKE_PUBLIC_KEY)
    return keccak(bytes32_word(recipe_hash) + job_pk + integer(fee, "The fee", at_most=UINT64_MAX).to_bytes(8, "big"))


def counted_hash(ids: Sequence[bytes]) -> bytes:
    """0 for none, else keccak256(abi.encode(bytes32[] ids))."""
    if not ids:
        return bytes(32)
    return keccak(uint_word(32) + uint_word(len(ids)) + b"".join(map(bytes32_word, ids)))


@dataclass(frozen=True)
class Order:
    """One job as its payer orders it.

    `start` is when claims start at the latest (the `stop` given to `open`), `fee` the runner's UNITs, `q` and `keepers`
    the committee, `root` the opening tree's root word, `counted` the ids of consents with finite uses in the order
    given to `open`. `opened` 0 means: not opened yet.
    """

    chain_id: int
    escrow: Address
    payer: Address
    lane: int
    opened: int
    start: int
    runner: Address
    recipe_hash: bytes
    job_pk: bytes
    fee: int
    q: int
    keepers: tuple[Address, ...]
    root: int
    counted: tuple[ConsentId, ...] = ()

    def __post_init__(self) -> None:
        integer(self.chain_id, "The order's chain id", at_least=1, at_most=UINT64_MAX)
        for name in _ADDRESSES:
            if octets(getattr(self, name), f"The order's {name}", 20) == NOBODY:
                raise InvalidInput(f"An order names its {name}.")
        integer(self.lane, "The order's lane", at_most=UINT64_MAX)
        integer(self.opened, "The order's opened", at_most=UINT40_MAX)
        integer(self.start, "The order's start", at_least=1, at_most=UINT40_MAX)
        octets(self.recipe_hash, "The order's recipe hash", 32)
        octets(self.job_pk, "The order's job key", HPKE_PUBLIC_KEY)
        integer(self.fee, "The order's fee", at_most=UINT64_MAX)
        integer(self.q, "The order's q", at_least=1, at_most=MAX_KEEPERS)
        if not isinstance(self.keepers, tuple) or not self.q <= len(self.keepers) <= MAX_KEEPERS:
            raise InvalidInput("An order's committee is smaller than its quorum, or too large.")
        for keeper in self.keepers:
            octets(keeper, "A keeper's address", 20)
        integer(self.root, "The order's root", at_most=UINT256_MAX)
        if not isinstance(self.counted, tuple) or len(self.counted) > MAX_COUNTED:
            raise InvalidInput(f"A job counts at most {MAX_COUNTED} consents with limited uses.")
        for consent_id in self.counted:
            octets(consent_id, "A counted consent's id", 32)
        if len(set(self.counted)) != len(self.counted):
            raise InvalidInput("A job counts a consent twice.")
        if self.opened and not self.opened < self.start <= self.opened + MAX_RUN:
            raise InvalidInput("A job's start lies within 30 days after its opening.")

    @cached_property
    def brief(self) -> bytes:
        """keccak256(recipe_hash ‖ job_pk ‖ u64be fee)."""
        return brief_of(self.recipe_hash, self.job_pk, self.fee)

    @cached_property
    def committee(self) -> bytes:
        """keccak(q, keepers), as the terms of its consents name it."""
        return committee_hash(self.q, self.keepers)

    @cached_property
    def spec(self) -> bytes:
        """keccak256(brief ‖ committee)."""
        return keccak(self.brief + self.committee)

    @cached_property
    def counted_hash(self) -> bytes:
        """The hash of the counted list, or 0."""
        return counted_hash(self.counted)

    @cached_property
    def order_hash(self) -> bytes:
        """keccak256(abi.encode(runner, spec, counted))."""
        return keccak(address_word(self.runner) + self.spec + self.counted_hash)

    @property
    def times(self) -> int:
        """opened << 40 | start, as the job was opened."""
        return self.times_from(self.start)

    def times_from(self, start: int) -> int:
        """opened << 40 | start, for the start that a confirmation or settlement set."""
        if not self.opened:
            raise InvalidInput("This job is not open yet.", hint="Open it first.")
        return self.opened << 40 | integer(start, "The start", at_least=1, at_most=UINT40_MAX)

    def lane_word(self, remaining: int, *, start: int | None = None, root: int | None = None) -> int:
        """The escrow's word for this job with `remaining` UNITs; `start` and `root` where they were replaced."""
        integer(remaining, "The lane's remainder", at_most=UINT64_MAX)
        times = self.times if start is None else self.times_from(start)
        packed = uint_word(times) + uint_word(self.root if root is None else root) + self.order_hash
        return int.from_bytes(keccak(packed), "big") >> 64 << 64 | remaining

    @property
    def open_word(self) -> int:
        """The lane's word while the job is open: everything remains and nothing was confirmed or settled."""
        return self.lane_word(sum_of(self.root))

    @cached_property
    def job_id(self) -> JobId:
        """keccak256(abi.encode(chain_id, escrow, payer, lane, opened, root, order))."""
        if not self.opened:
            raise InvalidInput("This job is not open yet and has no id.", hint="Open it first.")
        packed = (
            uint_word(self.chain_id)
            + address_word(self.escrow)
            + address_word(self.payer)
            + uint_word(self.lane)
            + uint_word(self.opened)
            + uint_word(self.root)
            + self.order_hash
        )
        return JobId(keccak(packed))

    def opened_at(self, opened: int) -> Order:
        """The same order once the escrow opened it at block time `opened`."""
        return replace(self, opened=opened)

    def encode(self) -> bytes:
        """Its dag-cbor form (docs/format/61-job.md)."""
        fields: dict[str, Any] = {
            "v": 1,
            "kind": "order",
            "chain": self.chain_id,
            "escrow": self.escrow,
            "payer": self.payer,
            "lane": self.lane,
            "opened": self.opened,
            "start": self.start,
            "runner": self.runner,
            "recipe": self.recipe_hash,
            "job_pk": self.job_pk,
            "fee": self.fee,
            "q": self.q,
            "keepers": list(self.keepers),
            "root": self.root.to_bytes(32, "big"),
            "counted": list(self.counted),
        }
        return encode_cbor(fields)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        keys = (
            "v", "kind", "chain", "escrow", "payer", "lane", "opened", "start", "runner", "recipe", "job_pk", "fee",
            "q", "keepers", "root", "counted",
        )  # fmt: skip
        fields = exact_map(decode_cbor(data, limit=16 << 10), keys, "The order")
        constant(fields["v"], 1, "The order's version")
        constant(fields["kind"], "order", "The order's kind")
        return cls(
            chain_id=fields["chain"],
            escrow=fields["escrow"],
            payer=fields["payer"],
            lane=fields["lane"],
            opened=fields["opened"],
            start=fields["start"],
            runner=fields["runner"],
            recipe_hash=fields["recipe"],
            job_pk=fields["job_pk"],
            fee=fields["fee"],
            q=fields["q"],
            keepers=tuple(exact_list(fields["keepers"], "The order's keepers", at_least=1, at_most=MAX_KEEPERS)),
            root=int.from_bytes(octets(fields["root"], "The order's root", 32), "big"),
            counted=tuple(exact_list(fields["counted"], "The order's counted list", at_most=MAX_COUNTED)),
        )
