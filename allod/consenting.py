"""What owners sign, through the API: nonces that nobody gets twice, and every check before something is relayed.

Each act has two halves: `check_…` reads chain, index and blocks and refuses in words; `accept_…` writes, in the
caller's one transaction. (A write that waits for the chain in between would hold the database's only writer.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, LargeBinary, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from allod import operations, requests
from allod.effects import REVOCATIONS
from allod.listing import Listing, check_terms, publication_row
from allod.operations import OperationRow, now
from allod.server import activity
from consent.fields import UINT64_MAX
from consent.grant import Consent, nonce_of
from consent.keeper.revocation import Revocation, Revoke, RevokeAll, RevokeNonces, read_revocation, write_revocation
from consent.keeper.store import Ended
from consent.market import granting
from consent.market.place import BATCH
from consent.market.signatures import check_signed
from consent.purposes import purpose_of_hash
from consent.records import ConsentRow
from consent.terms import Terms
from consent.typed import register_digest
from consent.validity import TokenStatus, check_token
from core.database import Base, inserting
from core.encoding import from_hex, to_hex
from core.errors import Conflict, Corrupted, Denied, InvalidInput, NotFound, Refused
from core.ids import NOBODY, Address
from vault.catalogue import remember
from vault.cid import RAW, Cid
from vault.manifest import digest as header_digest

if TYPE_CHECKING:
    from allod.world import World

LAST_PLACE = 2**62  # of a nonce that is given out: above it lies what only a mistake reaches


class NonceRow(Base):
    """The highest place (word ‖ bit) of a nonce that an owner was given here, or signed for."""

    __tablename__ = "consent_nonces"

    owner: Mapped[bytes] = mapped_column(LargeBinary(20), primary_key=True)
    place: Mapped[int] = mapped_column(BigInteger)


def next_nonce(world: World, session: Session, owner: Address, above: int) -> int:
    """A nonce of the owner's current epoch that nobody was given before, above what the client knows to be signed.

    `above` is the highest place, word ‖ bit, of any nonce that the owner ever signed, or -1.
    """
    token = world.market.token
    epoch = int(token.read("epochs", owner))
    known = max([above, *(consent.nonce & UINT64_MAX for consent in signed_by(session, owner))])
    given = session.scalar(select(NonceRow.place).where(NonceRow.owner == owner))
    revoked: dict[int, int] = {}

    def free_from(place: int) -> int:
        """The first place from this one on that no bit on chain revokes."""
        while place < LAST_PLACE:
            word, bit = place >> 8, place & 255
            if word not in revoked:
                revoked[word] = int(token.read("revoked_words", owner, word))
            free = ~revoked[word] >> bit & ((1 << (256 - bit)) - 1)
            if free:
                return place + (free & -free).bit_length() - 1
            place = (word + 1) << 8
        raise Conflict("This owner has used up every nonce.", hint="Begin anew with another account.")

    free_from(max(known, -1 if given is None else given) + 1)  # so that, mostly, nobody waits for the chain below
    place = free_from(max(known, _hold(session, owner)) + 1)
    _take(session, owner, place)
    return nonce_of(epoch, place >> 8, place & 255)


def _hold(session: Session, owner: Address) -> int:
    """The highest place that is taken; whoever else asks for this owner waits for the end of this transaction."""
    session.execute(inserting(session, NonceRow(owner=owner, place=-1)).on_conflict_do_nothing())
    return session.scalars(select(NonceRow.place).where(NonceRow.owner == owner).with_for_update()).one()


def _take(session: Session, owner: Address, place: int) -> None:
    """Nobody is given this place or one below it from now on."""
    mine = (NonceRow.owner == owner, NonceRow.place < place)
    session.execute(update(NonceRow).where(*mine).values(place=place))


def signed_by(session: Session, owner: Address) -> list[Consent]:
    """Every consent of this owner that is known here."""
    return [Consent.decode(one) for one in session.scalars(select(ConsentRow.consent).where(ConsentRow.owner == owner))]


def terms_of(world: World, terms_hash: bytes) -> Terms | None:
    """The terms of that hash, if their block is here: it is named by it."""
    try:
        return Terms.decode(world.blocks.get(Cid(RAW, terms_hash)))
    except (NotFound, InvalidInput, Corrupted):
        return None


# -- datasets ---------------------------------------------------------------------------------------------------------


def check_register(world: World, listing: Listing, signature: bytes) -> bytes:
    """The digest under which the owner asks to register; `Refused` unless the owner signed it."""
    market, publication = world.market, listing.publication
    digest = register_digest(
        market.chain_id,
        market.registry.address,
        listing.owner,
        header_digest(publication.header),
        publication.terms.hash,
    )
    check_signed(market, listing.owner, digest, signature, "this registration", market.registry.address)
    return digest


def accept_register(world: World, session: Session, listing: Listing, digest: bytes, signature: bytes) -> OperationRow:
    """Have it put on chain; afterwards it is listed."""
    publication = listing.publication
    remember(session, publication_row(listing))
    act = {
        "asset": to_hex(listing.asset),
        "digest": to_hex(header_digest(publication.header)),
        "terms": to_hex(publication.terms.hash),
        "signature": to_hex(signature),
        "cid": str(listing.cid),
    }
    about = {"asset": act["asset"], "terms": act["terms"], "title": str(listing.card["title"])}
    effect = f"register {to_hex(digest)}"
    row, _ = operations.accept(session, world.settings, listing.owner, "register", act, about, effect=effect)
    return row


# -- consents ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Checked:
    """A consent whose signature, terms and standing on chain were checked."""

    consent: Consent
    signature: bytes
    terms: Terms
    digest: bytes

    @property
    def effect(self) -> str:
        """What it brings about."""
        return f"{'offer' if self.consent.is_offer else 'grant'} {to_hex(self.digest)}"


def check_consent(world: World, session: Session, account: Address, consent: Consent, signature: bytes) -> Checked:
    """Everything that could be wrong with a consent, before anything is relayed or listed."""
    market = world.market
    if consent.owner != account:
        raise Denied("This consent is another owner's.", hint="Sign in as the owner that it names.")
    if consent.nonce & UINT64_MAX >= LAST_PLACE:
        raise InvalidInput("The consent's nonce is too high.", hint="POST /v1/consent_nonces gives one.")
    if consent.escrow != market.escrow.address:
        raise Refused(
            "The consent names another escrow than this server's.", hint="GET /v1/world names the one to sign for."
        )
    digest = consent.digest(market.chain_id, market.token.address)
    check_signed(market, account, digest, signature, "this consent", market.token.address)
    terms = terms_of(world, consent.terms)
    known = world.catalogue.publication(consent.asset, consent.terms)
    if terms is None or known is None or known.owner != account:
        raise Refused(
            "The dataset is not published under these terms here.",
            hint="POST /v1/datasets with a publication under these terms first.",
        )
    checked = Checked(consent, signature, terms, digest)
    _check_terms(world, consent, terms)
    if operations.of_effect(session, checked.effect) is None:
        _check_standing(world, consent)
    return checked


def _check_terms(world: World, consent: Consent, terms: Terms) -> None:
    check_terms(world, terms, now())
    found = purpose_of_hash(consent.purpose)
    if found is None or found.code not in terms.purposes:
        raise Refused("The terms do not allow this purpose.", hint=f"They allow {', '.join(terms.purposes)}.")
    if terms.max_uses and not 0 < consent.max_uses <= terms.max_uses:
        raise Refused(
            "The consent allows more uses than its terms.", hint=f"Choose between 1 and {terms.max_uses} uses."
        )
    if consent.runner != NOBODY and terms.runner not in (NOBODY, consent.runner):
        raise Refused("The consent names another runner than its terms.", hint="Sign it for the terms' runner.")


def _check_standing(world: World, consent: Consent) -> None:
    """`Conflict` where the chain would not mint it."""
    market = world.market
    epoch = int(market.token.read("epochs", consent.owner))
    if consent.epoch != epoch:
        raise Conflict(
            f"The consent's nonce is of epoch {consent.epoch}; yours is {epoch}.",
            hint="POST /v1/consent_nonces gives a nonce of your current epoch; sign again.",
        )
    if int(market.token.read("revoked_words", consent.owner, consent.word)) >> consent.bit & 1:
        raise Conflict("The consent's nonce was revoked.", hint="Take a new nonce, and sign again.")
    if consent.expiry <= min(market.chain.block().timestamp, now()):
        raise Conflict("The consent has expired.", hint="Sign one that ends later.")
    if consent.is_offer:
        return
    status = granting.status(market, consent, consent.grantee)
    if status is not TokenStatus.NEVER_MINTED:
        reasons = check_token([255 if status is None else status], counted=False)
        raise Conflict(reasons[0] if reasons else "It was granted before.", hint="Sign a new consent.")


def accept_consent(world: World, session: Session, checked: Checked, request_id: str | None) -> OperationRow:
    """List the consent, answer the request, and have a named one granted; an offer needs nothing more."""
    consent, owner = checked.consent, checked.consent.owner
    _hold(session, owner)
    _take(session, owner, consent.nonce & UINT64_MAX)
    for other in signed_by(session, owner):
        if other.nonce == consent.nonce and other != consent:
            raise Conflict(
                "Another consent of yours has this nonce, and one nonce serves one consent.",
                hint="Take a new nonce from POST /v1/consent_nonces, and sign again.",
            )
    found = operations.of_effect(session, checked.effect)
    if found is not None:
        return found
    if request_id is not None:
        if consent.is_offer:
            raise InvalidInput("A request is answered by a consent for its trainer.", hint="Name the trainer in it.")
        requests.approve(session, request_id, consent, checked.terms, checked.digest)
    row = ConsentRow(
        digest=checked.digest,
        owner=owner,
        grantee=consent.grantee,
        asset=consent.asset,
        consent=consent.encode(),
        signature=checked.signature,
    )
    session.execute(inserting(session, row).on_conflict_do_nothing())
    about = {"asset": to_hex(consent.asset), "consent": to_hex(checked.digest)}
    if request_id is not None:
        about["request"] = request_id
    if consent.is_offer:
        state, kind, act = operations.State.FINAL, "offer", {}
        activity.record(session, owner, "consent.offered", about)
    else:
        state, kind = operations.State.ACCEPTED, "grant"
        about["grantee"] = to_hex(consent.grantee)
        act = {"consent": to_hex(consent.encode()), "signature": to_hex(checked.signature)}
    operation, _ = operations.accept(
        session, world.settings, owner, kind, act, about, effect=checked.effect, state=state
    )
    return operation


# -- revocations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CheckedRevocation:
    """A revocation that its owner signed; `consents` and `holders` spell a Revoke's ids out.

    `ends_known` is what it ends of consents that are known here, and that the chain has not ended yet.
    """

    message: Revocation
    signature: bytes
    digest: bytes
    consents: tuple[Consent, ...] = ()
    holders: tuple[Address, ...] = ()
    ends_known: frozenset[Ended] = frozenset()

    @property
    def kind(self) -> str:
        """The operation's kind."""
        return {Revoke: "revoke", RevokeNonces: "revoke_nonces", RevokeAll: "revoke_all"}[type(self.message)]

    @property
    def effect(self) -> str:
        """What it brings about."""
        return f"{self.kind} {to_hex(self.digest)}"


def revoke_message(world: World, owner: Address, consents: tuple[Consent, ...], holders: tuple[Address, ...]) -> Revoke:
    """The Revoke of these tokens, each consent with its holder; `InvalidInput` where they do not fit."""
    if len(consents) != len(holders) or not 1 <= len(consents) <= BATCH:
        raise InvalidInput(f"A revocation names 1 to {BATCH} consents, and one holder for each.")
    if any(consent.owner != owner for consent in consents):
        raise InvalidInput("Only its owner revokes a consent.", hint="Name your own consents only.")
    pairs = zip(consents, holders, strict=True)
    return Revoke(owner, tuple(granting.consent_id(world.market, consent, holder) for consent, holder in pairs))


def check_revocation(
    world: World,
    session: Session,
    account: Address,
    message: Revocation,
    signature: bytes,
    consents: tuple[Consent, ...] = (),
    holders: tuple[Address, ...] = (),
) -> CheckedRevocation:
    """`Denied` for another's, `Refused` unless the owner signed, `Conflict` for an epoch that is not current."""
    market = world.market
    if message.owner != account:
        raise Denied("This revocation is another owner's.", hint="Sign in as the owner that it names.")
    digest = message.digest(market.chain_id, market.token.address)
    check_signed(market, account, digest, signature, "this revocation", market.token.address)
    ends_known = _ends_known(world, session, message, consents, holders)
    checked = CheckedRevocation(message, signature, digest, consents, holders, ends_known)
    if isinstance(message, RevokeAll) and operations.of_effect(session, checked.effect) is None:
        epoch = int(market.token.read("epochs", account))
        if message.epoch != epoch:
            raise Conflict(
                f"The revocation names epoch {message.epoch}; yours is {epoch}.",
                hint="Sign it for your current epoch: what it would end has ended if yours is higher.",
            )
    return checked


def _ends_known(
    world: World,
    session: Session,
    message: Revocation,
    consents: tuple[Consent, ...],
    holders: tuple[Address, ...],
) -> frozenset[Ended]:
    """What it ends of consents that were signed for here: each counts until it has ended, made-up ones never."""
    market, known = world.market, set(signed_by(session, message.owner))
    if isinstance(message, Revoke):
        over = (TokenStatus.BURNED,)
        unless = {True: (*over, TokenStatus.NEVER_MINTED), False: over}  # an offer has a token for whoever is made up
        named = zip(consents, holders, message.ended, strict=True)
        return frozenset(
            ended
            for one, holder, ended in named
            if one in known and granting.status(market, one, holder) not in unless[one.is_offer]
        )
    if isinstance(message, RevokeAll):
        return frozenset(message.ended if any(one.epoch == message.epoch for one in known) else ())
    mine = [one for one in known if one.word == message.word and message.mask >> one.bit & 1]
    if not mine:
        return frozenset()
    epoch = int(market.token.read("epochs", message.owner))
    revoked = int(market.token.read("revoked_words", message.owner, message.word))
    bits = {one.bit for one in mine if one.epoch == epoch and not revoked >> one.bit & 1}
    return frozenset(one for bit in bits for one in RevokeNonces(message.owner, message.word, 1 << bit).ended)


def _ending(session: Session, owner: Address) -> set[Ended]:
    """What revocations of this owner end that were accepted, and that are not final."""
    mine = (OperationRow.account == owner, OperationRow.kind.in_(REVOCATIONS))
    acts = session.scalars(select(OperationRow.act).where(*mine, OperationRow.state.not_in(operations.ENDED)))
    return {ended for act in acts for ended in read_revocation(from_hex(act["body"])).ended}


def accept_revocation(world: World, session: Session, checked: CheckedRevocation) -> OperationRow:
    """Have it stored by every keeper, then put on chain.

    It has the room that is kept for revocations if it ends something that is known here and that nothing ends yet, so
    that a consent cannot be ended over and over at the server's cost.
    """
    committee, owner = world.committee, checked.message.owner
    _hold(session, owner)  # or two at the same moment would not see each other
    keepers = [
        {"index": member.index, "address": to_hex(member.address), "stored": False, "reason": None}
        for member in committee.keepers
    ]
    act = {
        "body": to_hex(write_revocation(checked.message)),
        "signature": to_hex(checked.signature),
        "consents": [to_hex(consent.encode()) for consent in checked.consents],
        "holders": [to_hex(holder) for holder in checked.holders],
    }
    about = {"needed": committee.n - committee.t + 1}
    row, _ = operations.accept(
        session,
        world.settings,
        owner,
        checked.kind,
        act,
        about,
        effect=checked.effect,
        keepers=keepers,
        from_reserve=bool(checked.ends_known - _ending(session, owner)),
    )
    return row
