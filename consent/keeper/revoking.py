"""The /revoke desk: owners' signed revocations, stored before they are acknowledged.

Each message counts once. The acknowledgement is signed, so that a client that collected n − t + 1 of them can show
that no t keepers will release for this consent any more, unless they lie.
"""

from __future__ import annotations

from consent.chain.account import recover
from consent.fields import exact_list, octets
from consent.grant import Consent
from consent.keeper.revocation import Revocation, read_revocation, stored_digest
from consent.keeper.station import Station
from consent.keeper.wire import any_octets, read, unsign, write
from core.encoding import decode_cbor, encode_cbor
from core.errors import InvalidInput, Refused
from core.ids import Address

MAX_QUERY = 256


def write_query(consents: list[tuple[Consent, Address]]) -> bytes:
    """A request that asks which of these consents (each with its holder) this keeper knows to be revoked."""
    return write("revoked", consents=[[consent.encode(), holder] for consent, holder in consents])


def answer(station: Station, data: bytes) -> bytes:
    """The reply to a request of the /revoke path."""
    value = decode_cbor(data)
    return _query(station, data) if isinstance(value, dict) and "kind" in value else _store(station, data)


def _store(station: Station, data: bytes) -> bytes:
    body, signature = unsign(data)
    message = read_revocation(body)
    digest = message.digest(station.chain_id, station.token)
    if not _is_signed(station, message, digest, signature):
        raise Refused("The revocation is not signed by the owner it names.")
    if not station.store.holds_message(digest):
        station.admit(message.owner)
    seen = station.store.record_revocation(message.owner, message.ended, digest, data, station.now)
    acknowledged = station.keys.account.sign_hash(stored_digest(station.chain_id, station.token, digest, seen))
    return encode_cbor({"v": 1, "message": digest, "seen": seen, "sig": acknowledged})


def _is_signed(station: Station, message: Revocation, digest: bytes, signature: bytes) -> bool:
    try:
        if recover(digest, signature) == message.owner:
            return True
    except InvalidInput:
        pass
    return station.facts.wallet_accepts(message.owner, digest, signature, station.facts.look().latest)


def _query(station: Station, data: bytes) -> bytes:
    fields = read(data, ("kind", "consents"), "The revocation query")
    if fields["kind"] != "revoked":
        raise InvalidInput("The request is none that this path takes.")
    seen = []
    for item in exact_list(fields["consents"], "The consents", at_least=1, at_most=MAX_QUERY):
        encoded, holder = exact_list(item, "A consent with its holder", at_least=2, at_most=2)
        consent = Consent.decode(any_octets(encoded, "A consent"))
        holder = Address(octets(holder, "The holder", 20))
        seen.append(station.store.revoked_at(consent, consent.id(station.chain_id, station.token, holder)))
    return encode_cbor({"v": 1, "seen": seen})
