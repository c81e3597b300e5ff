"""A consent as the API's documents write it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from allod import consentlist
from allod.server.forms import AddressHex, Form, Hex32, Units, UnixTime, address
from consent.grant import Consent
from core.encoding import from_hex
from core.ids import Asset

NonceText = Annotated[str, Field(pattern="^(0|[1-9][0-9]{0,28})$", description="epoch32 ‖ word56 ‖ bit8, in decimal.")]
Uses = Annotated[int, Field(ge=0, le=65535, description="Jobs; 0 is unlimited.")]


class PriceOut(BaseModel):
    """What a job pays: once, and for each record and epoch."""

    flat: Units
    per_record_epoch: Units


class ConsentForm(Form):
    """The struct that an owner signs (docs/format/60-consent.md); `grantee` zero makes it an offer."""

    owner: AddressHex
    grantee: AddressHex
    asset: Hex32
    terms: Hex32
    purpose: Hex32
    runner: AddressHex
    escrow: AddressHex
    not_before: UnixTime
    expiry: UnixTime
    max_uses: Uses
    nonce: NonceText

    def consent(self) -> Consent:
        """The consent itself; `InvalidInput` where its members contradict each other."""
        return Consent(
            owner=address(self.owner),
            grantee=address(self.grantee),
            asset=Asset(from_hex(self.asset, 32)),
            terms=from_hex(self.terms, 32),
            purpose=from_hex(self.purpose, 32),
            runner=address(self.runner),
            escrow=address(self.escrow),
            not_before=self.not_before,
            expiry=self.expiry,
            max_uses=self.max_uses,
            nonce=int(self.nonce),
        )


class ConsentOut(ConsentForm):
    """The struct that an owner signed."""

    @classmethod
    def of(cls, consent: Consent) -> ConsentOut:
        """The document of a consent."""
        return cls(**consentlist.consent_fields(consent))
