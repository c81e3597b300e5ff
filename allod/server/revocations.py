"""`/v1/revocations`: owners end consents; the keepers hear of it first, then the chain."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field

from allod import consenting
from allod.server.consentforms import ConsentForm
from allod.server.context import Here
from allod.server.forms import AddressHex, Form, Hex32, SignatureHex, address
from allod.server.guard import SignedIn
from allod.server.idempotency import Once
from allod.server.operations import OperationOut
from consent.keeper.revocation import Revocation, RevokeAll, RevokeNonces
from consent.market.place import BATCH
from core.encoding import from_hex
from core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["revocations"])


class RevocationIn(Form):
    """A signed revocation: `revoke` takes consents and, for each, its holder; `revoke_nonces` word and mask;
    `revoke_all` the current epoch."""

    kind: Literal["revoke", "revoke_nonces", "revoke_all"]
    owner: AddressHex
    consents: list[ConsentForm] = Field(default_factory=list, max_length=BATCH)
    holders: list[AddressHex] = Field(default_factory=list, max_length=BATCH)
    word: Annotated[str | None, Field(pattern="^(0|[1-9][0-9]{0,16})$", description="56 bits, in decimal.")] = None
    mask: Hex32 | None = None
    epoch: Annotated[int | None, Field(ge=0, lt=2**32)] = None
    signature: SignatureHex


def _only(given: RevocationIn, *names: str) -> None:
    wanted = {"kind", "owner", "signature", *names}
    missing = [name for name in names if getattr(given, name) in (None, [])]
    if missing or any(getattr(given, name) not in (None, []) for name in type(given).model_fields.keys() - wanted):
        raise InvalidInput(f"A revocation of kind {given.kind} has {' and '.join(names)}, and no other.")


@router.post("/revocations", status_code=202, operation_id="create_revocation")
def create_revocation(account: SignedIn, here: Here, once: Once, given: RevocationIn) -> OperationOut:
    """Have consents ended: `keepers` of the operation says who has stored it, its state what the chain has."""
    owner, signature = address(given.owner), from_hex(given.signature)
    consents = tuple(form.consent() for form in given.consents)
    holders = tuple(address(holder) for holder in given.holders)
    message: Revocation
    if given.kind == "revoke":
        _only(given, "consents", "holders")
        message = consenting.revoke_message(here, owner, consents, holders)
    elif given.kind == "revoke_nonces":
        _only(given, "word", "mask")
        word, mask = int(given.word or 0), int(given.mask or "0x0", 16)
        if word >= 2**56 or not mask:
            raise InvalidInput("The word has 56 bits, and the mask names at least one nonce.")
        message = RevokeNonces(owner, word, mask)
    else:
        _only(given, "epoch")
        message = RevokeAll(owner, given.epoch or 0)
    checked = consenting.check_revocation(here, once.session, account, message, signature, consents, holders)
    return once.keep(OperationOut.of(consenting.accept_revocation(here, once.session, checked)))
