"""The short, coarse, public list of purposes that a consent can name: entries of the W3C Data Privacy Vocabulary.

On chain stands `keccak256(iri)`. The list is public by design, so the hash hides nothing; it only fixes a width.
"""

from __future__ import annotations

from dataclasses import dataclass

from consent.typed import keccak
from core.errors import InvalidInput

DPV = "https://w3id.org/dpv#"


@dataclass(frozen=True)
class Purpose:
    """One entry: a code for people and commands, a label, and the DPV term behind it."""

    code: str
    label: str
    term: str

    @property
    def iri(self) -> str:
        """The DPV concept's address."""
        return DPV + self.term

    @property
    def hash(self) -> bytes:
        """What a consent and a recipe carry: keccak256 of the IRI."""
        return keccak(self.iri.encode())


PURPOSES = (
    Purpose("academic-research", "Academic research", "AcademicResearch"),
    Purpose("non-commercial-research", "Non-commercial research", "NonCommercialResearch"),
    Purpose("commercial-research", "Commercial research", "CommercialResearch"),
    Purpose("service-provision", "Providing a service or product", "ServiceProvision"),
    Purpose("personalisation", "Personalising a service", "Personalisation"),
)

_BY_CODE = {purpose.code: purpose for purpose in PURPOSES}
_BY_TERM = {purpose.term: purpose for purpose in PURPOSES}
_BY_HASH = {purpose.hash: purpose for purpose in PURPOSES}


def purpose(code: str) -> Purpose:
    """The purpose of this code, else `InvalidInput` that lists them."""
    found = _BY_CODE.get(code)
    if found is None:
        raise InvalidInput(f"No purpose is called '{str(code)[:40]}'.", hint=f"Choose one of: {', '.join(_BY_CODE)}.")
    return found


def purpose_of_term(term: str) -> Purpose:
    """The purpose of this DPV term, else `InvalidInput`."""
    found = _BY_TERM.get(term)
    if found is None:
        raise InvalidInput("The purpose is not on Allod's list.")
    return found


def purpose_of_hash(digest: bytes) -> Purpose | None:
    """The purpose that a consent's 32 bytes mean, or None if they mean none that is known here."""
    return _BY_HASH.get(digest)
