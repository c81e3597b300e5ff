"""The terms: an owner's licence for one dataset, shaped as an ODRL 2.2 Offer with DPV purposes; quote and allows.

Promises: one canonical JSON form (RFC 8785) for one meaning, salted so that its hash on chain reveals nothing; `quote`
and `allows` are pure and exact. Prices are UNITs of the token of the escrow that a consent names.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

from consent.fields import (
    UINT16_MAX,
    UINT40_MAX,
    UINT64_MAX,
    exact_list,
    exact_map,
    hex_octets,
    integer,
    octets,
)
from consent.purposes import purpose, purpose_of_hash, purpose_of_term
from consent.recipe import MAX_EPOCHS, Recipe
from core.encoding import MAX_SAFE_INT, decode_json, encode_json, to_hex
from core.errors import InvalidInput
from core.ids import NOBODY, Address

PROFILE = "urn:allod:terms:1"
_CONTEXT = ["http://www.w3.org/ns/odrl.jsonld", {"allod": "urn:allod:terms:1#", "dpv": "https://w3id.org/dpv#"}]
_LAST_SECOND = min(UINT40_MAX, 253402300799)  # the end of the year 9999, the last that xsd:dateTime's four digits write


@dataclass(frozen=True)
class Counts:
    """What a dataset's signed header says it holds."""

    objects: int
    records: int

    def __post_init__(self) -> None:
        integer(self.objects, "The count of objects", at_most=UINT64_MAX)
        integer(self.records, "The count of records", at_most=UINT64_MAX)


@dataclass(frozen=True)
class Terms:
    """One licence.

    `purposes` are codes of `consent.purposes`, `base_models` the hashes of the models that may be tuned (None = any),
    `max_uses` 0 = unlimited, `runner` zero = any, `committee` = keccak(q, keeper addresses), `expiry` Unix seconds.
    `flat` is due at the first release; `per_record_epoch` for each record and epoch.
    """

    purposes: tuple[str, ...]
    base_models: tuple[bytes, ...] | None
    max_epochs: int
    max_uses: int
    flat: int
    per_record_epoch: int
    payee: Address
    expiry: int
    runner: Address
    committee: bytes
    salt: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.purposes, tuple) or not 1 <= len(self.purposes) <= 16:
            raise InvalidInput("Terms name at least one purpose and at most 16.")
        terms_of = [purpose(code).term for code in self.purposes]
        if terms_of != sorted(set(terms_of)):
            raise InvalidInput("The purposes of terms are named once, sorted by their DPV term.")
        if self.base_models is not None:
            if not isinstance(self.base_models, tuple) or not 1 <= len(self.base_models) <= 64:
                raise InvalidInput("Terms name 1 to 64 base models, or any.")
            for model in self.base_models:
                octets(model, "A base model's hash", 32)
            if list(self.base_models) != sorted(set(self.base_models)):
                raise InvalidInput("The base models of terms are sorted and named once.")
        integer(self.max_epochs, "The terms' max_epochs", at_least=1, at_most=MAX_EPOCHS)
        integer(self.max_uses, "The terms' max_uses", at_most=UINT16_MAX)
        integer(self.flat, "The terms' flat price", at_most=MAX_SAFE_INT)
        integer(self.per_record_epoch, "The terms' price per record and epoch", at_most=MAX_SAFE_INT)
        octets(self.payee, "The terms' payee", 20)
        integer(self.expiry, "The terms' expiry", at_least=1, at_most=_LAST_SECOND)
        octets(self.runner, "The terms' runner", 20)
        octets(self.committee, "The terms' committee", 32)
        octets(self.salt, "The terms' salt", 32)
        if self.payee == NOBODY:
            raise InvalidInput("Terms name who is paid.")

    @classmethod
    def write(
        cls,
        *,
        purposes: list[str],
        payee: Address,
        committee: bytes,
        expiry: int,
        base_models: list[bytes] | None = None,
        max_epochs: int = 1,
        max_uses: int = 0,
        flat: int = 0,
        per_record_epoch: int = 0,
        runner: Address = NOBODY,
    ) -> Self:
        """New terms with a fresh salt; lists may come in any order."""
        return cls(
            purposes=tuple(sorted(set(purposes), key=lambda code: purpose(code).term)),
            base_models=None if base_models is None else tuple(sorted(set(base_models))),
            max_epochs=max_epochs,
            max_uses=max_uses,
            flat=flat,
            per_record_epoch=per_record_epoch,
            payee=payee,
            expiry=expiry,
            runner=runner,
            committee=committee,
            salt=secrets.token_bytes(32),
        )

    @property
    def document(self) -> dict[str, Any]:
        """The terms as JSON values: an ODRL Offer whose constraints stand in a fixed order."""
        constraints: list[dict[str, Any]] = [
            _limit("purpose", "isAnyOf", [f"dpv:{purpose(code).term}" for code in self.purposes]),
            _limit("allod:maxEpochs", "lteq", self.max_epochs),
            _limit("dateTime", "lt", {"@type": "xsd:dateTime", "@value": _write_time(self.expiry)}),
            _limit("allod:committee", "eq", to_hex(self.committee)),
        ]
        if self.base_models is not None:
            constraints.append(_limit("allod:baseModel", "isAnyOf", [to_hex(model) for model in self.base_models]))
        if self.max_uses:
            constraints.append(_limit("count", "lteq", self.max_uses))
        if self.runner != NOBODY:
            constraints.append(_limit("allod:runner", "eq", to_hex(self.runner)))
        duty = {
            "action": "compensate",
            "compensatedParty": "urn:allod:account:" + to_hex(self.payee),
            "constraint": [
                _limit("allod:flat", "eq", self.flat),
                _limit("allod:perRecordEpoch", "eq", self.per_record_epoch),
            ],
        }
        return {
            "@context": _CONTEXT,
            "@type": "Offer",
            "profile": PROFILE,
            "uid": "urn:allod:terms:" + to_hex(self.salt),
            "permission": [{"action": "allod:fineTune", "constraint": constraints, "duty": [duty]}],
        }

    def encode(self) -> bytes:
        """The canonical JSON bytes."""
        return encode_json(self.document)

    @cached_property
    def hash(self) -> bytes:
        """The terms_hash that consents and the registry carry: sha256 of the canonical bytes."""
        return sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse exactly what `encode` writes, else `InvalidInput`."""
        fields = exact_map(
            decode_json(data, limit=64 << 10), ("@context", "@type", "profile", "uid", "permission"), "The terms"
        )
        if fields["profile"] != PROFILE:
            raise InvalidInput("These terms follow a profile that is not known here.")
        permission = exact_list(fields["permission"], "The terms' permission", at_least=1, at_most=1)[0]
        permission = exact_map(permission, ("action", "constraint", "duty"), "The terms' permission")
        limits = _read_limits(permission["constraint"])
        duty = exact_list(permission["duty"], "The terms' duty", at_least=1, at_most=1)[0]
        duty = exact_map(duty, ("action", "compensatedParty", "constraint"), "The terms' duty")
        price = _read_limits(duty["constraint"])
        models = limits.get("allod:baseModel")
        terms = cls(
            purposes=tuple(_read_purpose(item) for item in _listed(limits.get("purpose"), "The purposes", 16)),
            base_models=None
            if models is None
            else tuple(hex_octets(item, "A base model's hash", 32) for item in _listed(models, "The base models", 64)),
            max_epochs=limits.get("allod:maxEpochs", -1),
            max_uses=limits.get("count", 0),
            flat=price.get("allod:flat", -1),
            per_record_epoch=price.get("allod:perRecordEpoch", -1),
            payee=Address(_read_urn(duty["compensatedParty"], "urn:allod:account:", 20)),
            expiry=_read_time(limits.get("dateTime")),
            runner=Address(hex_octets(limits["allod:runner"], "The terms' runner", 20))
            if "allod:runner" in limits
            else NOBODY,
            committee=hex_octets(limits.get("allod:committee"), "The terms' committee", 32),
            salt=_read_urn(fields["uid"], "urn:allod:terms:", 32),
        )
        # Anything that the fields above do not carry (an operator, an extra constraint, their order) shows here.
        if terms.encode() != data:
            raise InvalidInput("The terms hold something that Allod's terms do not have.")
        return terms


def _limit(operand: str, operator: str, value: Any) -> dict[str, Any]:
    return {"leftOperand": operand, "operator": operator, "rightOperand": value}


def _read_limits(value: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in exact_list(value, "A list of constraints", at_most=16):
        fields = exact_map(item, ("leftOperand", "operator", "rightOperand"), "A constraint")
        if not isinstance(fields["leftOperand"], str) or fields["leftOperand"] in out:
            raise InvalidInput("A constraint has no name of its own.")
        out[fields["leftOperand"]] = fields["rightOperand"]
    return out


def _listed(value: Any, what: str, at_most: int) -> list[Any]:
    return exact_list(value, what, at_least=1, at_most=at_most)


def _read_purpose(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("dpv:"):
        raise InvalidInput("A purpose is not a DPV term.")
    return purpose_of_term(value[4:]).code


def _read_urn(value: Any, prefix: str, length: int) -> bytes:
    if not isinstance(value, str) or not value.startswith(prefix):
        raise InvalidInput(f"The terms lack a name that starts with {prefix}")
    return hex_octets(value[len(prefix) :], "The name in the terms", length)


def _write_time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_time(value: Any) -> int:
    fields = exact_map(value, ("@type", "@value"), "The terms' dateTime")
    try:
        return int(datetime.strptime(fields["@value"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except (TypeError, ValueError):
        raise InvalidInput("The terms' dateTime is not a UTC time.") from None


def price(terms: Terms, record_epochs: int) -> int:
    """What is owed once `record_epochs` of this dataset's records were trained on, in UNITs (uint64)."""
    integer(record_epochs, "The record-epochs", at_most=UINT64_MAX)
    units = terms.flat + terms.per_record_epoch * record_epochs
    if units > UINT64_MAX:
        raise InvalidInput("The price does not fit into 64 bits.", hint="Fewer epochs or records, or other terms.")
    return units


def quote(terms: Terms, recipe: Recipe, counts: Counts) -> int:
    """What a job with this recipe pays for this dataset, in UNITs: flat + rate × records × epochs (uint64)."""
    return price(terms, counts.records * recipe.epochs)


def allows(terms: Terms, recipe: Recipe) -> list[str]:
    """Why these terms do not allow this recipe, one sentence each; empty when they do."""
    reasons = []
    wanted = purpose_of_hash(recipe.purpose)
    if wanted is None:
        reasons.append("The recipe's purpose is not on the public list.")
    elif wanted.code not in terms.purposes:
        reasons.append(f"The terms do not allow the purpose '{wanted.code}'.")
    if terms.base_models is not None and recipe.base_hash not in terms.base_models:
        reasons.append("The terms do not allow this base model.")
    if recipe.epochs > terms.max_epochs:
        reasons.append(f"The recipe runs {recipe.epochs} epochs; the terms allow {terms.max_epochs}.")
    return reasons
