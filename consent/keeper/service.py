"""The /service and /log desks: what a keeper is, under its signature, and its log for anyone to read.

The signed document promises a head: whoever kept one can show later that the log was cut or rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.chain.account import Account, recover
from consent.fields import UINT40_MAX, UINT64_MAX, constant, exact_list, integer, octets
from consent.keeper.station import Station
from consent.keeper.wire import any_octets, read, read_reply, sign, write
from consent.typed import keccak
from core.encoding import encode_cbor
from core.errors import Corrupted, InvalidInput
from core.ids import Address

MAX_ENTRIES = 1000
_PREFIX = b"allod/keeper-service/v1\0"
_FIELDS = ("kind", "address", "chain", "token", "escrow", "committees", "entries", "head", "time")


@dataclass(frozen=True)
class Service:
    """What a keeper says of itself. `time` is its clock in Unix seconds, `head` the hash of its log's last entry."""

    address: Address
    chain_id: int
    token: Address
    escrow: Address
    committees: tuple[bytes, ...]
    entries: int
    head: bytes
    time: int


def service_digest(body: bytes) -> bytes:
    """What a keeper signs of the encoded document."""
    return keccak(_PREFIX + body)


def write_service(said: Service, account: Account) -> bytes:
    """The document under its keeper's signature."""
    body = write(
        "service",
        address=said.address,
        chain=said.chain_id,
        token=said.token,
        escrow=said.escrow,
        committees=list(said.committees),
        entries=said.entries,
        head=said.head,
        time=said.time,
    )
    return sign(body, account.sign_hash(service_digest(body)))


def service(station: Station, data: bytes) -> bytes:
    """The reply of the /service path."""
    if data:
        constant(read(data, ("kind",), "The request")["kind"], "service", "The request's kind")
    count, head = station.store.head()
    committees = tuple(seat.committee.encode() for _, seat in sorted(station.seats.items()))
    said = Service(
        station.keys.address, station.chain_id, station.token, station.escrow, committees, count, head, station.now
    )
    return write_service(said, station.keys.account)


def read_service(reply: bytes, address: Address) -> Service:
    """A keeper's reply; `Corrupted` unless the keeper at `address` signed it and it is of the form."""
    fields = read_reply(reply, ("body", "sig"), "The keeper's reply")
    try:
        body = any_octets(fields["body"], "The document")
        signer = recover(service_digest(body), octets(fields["sig"], "The signature", 65))
    except InvalidInput:
        signer = None
    if signer != address:
        raise Corrupted(
            f"What answers there is not the keeper 0x{address.hex()}.",
            hint="Compare its address with the committee's document; ask its operator.",
        )
    try:
        said = read(body, _FIELDS, "The keeper's document")
        constant(said["kind"], "service", "The document's kind")
        committees = exact_list(said["committees"], "The committees", at_most=1000)
        found = Service(
            address=Address(octets(said["address"], "The address", 20)),
            chain_id=integer(said["chain"], "The chain", at_most=UINT64_MAX),
            token=Address(octets(said["token"], "The token", 20)),
            escrow=Address(octets(said["escrow"], "The escrow", 20)),
            committees=tuple(any_octets(item, "A committee") for item in committees),
            entries=integer(said["entries"], "The count of entries", at_most=UINT64_MAX),
            head=octets(said["head"], "The log's head", 32),
            time=integer(said["time"], "The time", at_most=UINT40_MAX),
        )
    except InvalidInput as error:
        raise Corrupted(f"The keeper's document cannot be read: {error.message}", hint="Ask its operator.") from None
    if found.address != address:
        raise Corrupted("The keeper's document names another keeper.", hint="Ask its operator.")
    return found


def log(station: Station, data: bytes) -> bytes:
    """The reply of the /log path: a page of entries."""
    fields = read(data, ("kind", "first", "count"), "The log query")
    constant(fields["kind"], "log", "The request's kind")
    first = integer(fields["first"], "The first entry", at_most=2**53)
    count = integer(fields["count"], "The count of entries", at_least=1, at_most=MAX_ENTRIES)
    entries = station.store.entries(first, count)
    total, head = station.store.head()
    return encode_cbor({"v": 1, "list": entries, "entries": total, "head": head})
