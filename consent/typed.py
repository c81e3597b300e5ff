"""EIP-712 digests of every message that Allod's people and machines sign.

Structs are packed by hand: every member is one 32-byte word, arrays are the hash of their words. A test compares each
of them with eth-account's encoder. Promises: an argument of another width is `InvalidInput`, never silently cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from eth_hash.auto import keccak as _keccak

from consent.fields import UINT16_MAX, UINT40_MAX, UINT64_MAX, UINT96_MAX, UINT256_MAX, integer, octets

CONSENT_TYPE = (
    "Consent(address owner,address grantee,bytes32 asset,bytes32 terms,bytes32 purpose,address runner,"
    "address escrow,uint40 notBefore,uint40 expiry,uint16 maxUses,uint96 nonce)"
)
REGISTER_TYPE = "Register(address owner,bytes32 digest,bytes32 terms)"
REVOKE_TYPE = "Revoke(address owner,bytes32[] ids)"
REVOKE_NONCES_TYPE = "RevokeNonces(address owner,uint256 word,uint256 mask)"
REVOKE_ALL_TYPE = "RevokeAll(address owner,uint32 epoch)"
SURRENDER_TYPE = "Surrender(address holder,bytes32[] ids)"
SETTLEMENT_TYPE = "Settlement(bytes32 job,uint256 root,bytes32 statement)"
RELEASE_REQUEST_TYPE = "ReleaseRequest(bytes32 job,bytes32 consent,uint8 keeper,bytes32 body)"
RECEIPT_TYPE = (
    "Receipt(bytes32 job,bytes32 consent,uint8 keeper,bytes32 safeBlock,bytes32 latestBlock,bytes32 root,"
    "bytes32 previous)"
)
PROPOSAL_TYPE = "Proposal(bytes32 job,uint256 root,bytes32 statement)"
LEDGER_TOTAL_TYPE = "LedgerTotal(bytes32 job,bytes32 consent,uint64 recordEpochs)"
PERMIT_TYPE = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"

_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def keccak(data: bytes) -> bytes:
    """Keccak-256, the EVM's hash: 32 bytes."""
    return _keccak(data)


def uint_word(value: int, at_most: int = UINT256_MAX) -> bytes:
    """An unsigned integer as one big-endian 32-byte word."""
    return integer(value, "A signed number", at_most=at_most).to_bytes(32, "big")


def address_word(address: bytes) -> bytes:
    """A 20-byte address as one word, zeros in front."""
    return bytes(12) + octets(address, "An address", 20)


def bytes32_word(value: bytes) -> bytes:
    """Exactly 32 bytes, as they are."""
    return octets(value, "A signed hash", 32)


@lru_cache(maxsize=64)
def type_hash(encoded_type: str) -> bytes:
    """keccak256 of an EIP-712 encodeType string."""
    return keccak(encoded_type.encode())


@lru_cache(maxsize=256)
def domain_separator(name: str, chain_id: int, contract: bytes, version: str = "1") -> bytes:
    """The EIP-712 domain {name, version, chainId, verifyingContract}."""
    texts = keccak(name.encode()) + keccak(version.encode())
    return keccak(type_hash(_DOMAIN_TYPE) + texts + uint_word(chain_id) + address_word(contract))


def registry_domain(chain_id: int, registry: bytes) -> bytes:
    """The domain of Register."""
    return domain_separator("Allod Registry", chain_id, registry)


def consent_domain(chain_id: int, token: bytes) -> bytes:
    """The domain of Consent, Revoke, RevokeNonces, RevokeAll and Surrender."""
    return domain_separator("Allod Consent", chain_id, token)


def escrow_domain(chain_id: int, escrow: bytes) -> bytes:
    """The domain of Settlement, the one message of keepers that the escrow reads."""
    return domain_separator("Allod Escrow", chain_id, escrow)


def keeper_domain(chain_id: int, escrow: bytes) -> bytes:
    """The domain of what keepers, runners and payers sign for each other: no contract reads it."""
    return domain_separator("Allod Keeper", chain_id, escrow)


def _digest(domain: bytes, struct_type: str, words: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + keccak(type_hash(struct_type) + words))


def consent_digest(
    chain_id: int,
    token: bytes,
    *,
    owner: bytes,
    grantee: bytes,
    asset: bytes,
    terms: bytes,
    purpose: bytes,
    runner: bytes,
    escrow: bytes,
    not_before: int,
    expiry: int,
    max_uses: int,
    nonce: int,
) -> bytes:
    """What an owner signs to consent."""
    words = (
        address_word(owner)
        + address_word(grantee)
        + bytes32_word(asset)
        + bytes32_word(terms)
        + bytes32_word(purpose)
        + address_word(runner)
        + address_word(escrow)
        + uint_word(not_before, UINT40_MAX)
        + uint_word(expiry, UINT40_MAX)
        + uint_word(max_uses, UINT16_MAX)
        + uint_word(nonce, UINT96_MAX)
    )
    return _digest(consent_domain(chain_id, token), CONSENT_TYPE, words)


def register_digest(chain_id: int, registry: bytes, owner: bytes, digest: bytes, terms: bytes) -> bytes:
    """What an owner signs to put a dataset's header digest and terms on chain."""
    words = address_word(owner) + bytes32_word(digest) + bytes32_word(terms)
    return _digest(registry_domain(chain_id, registry), REGISTER_TYPE, words)


def _hash_array(ids: Sequence[bytes]) -> bytes:
    return keccak(b"".join(map(bytes32_word, ids)))


def revoke_digest(chain_id: int, token: bytes, owner: bytes, ids: Sequence[bytes]) -> bytes:
    """What an owner signs to burn or tombstone these consent tokens."""
    words = address_word(owner) + _hash_array(ids)
    return _digest(consent_domain(chain_id, token), REVOKE_TYPE, words)


def revoke_nonces_digest(chain_id: int, token: bytes, owner: bytes, word: int, mask: int) -> bytes:
    """What an owner signs to end every consent whose nonce has a bit of `mask` in the 56-bit `word`, in any epoch."""
    words = address_word(owner) + uint_word(word) + uint_word(mask)
    return _digest(consent_domain(chain_id, token), REVOKE_NONCES_TYPE, words)


def revoke_all_digest(chain_id: int, token: bytes, owner: bytes, epoch: int) -> bytes:
    """What an owner signs to end every consent of the epoch, which is the current one."""
    words = address_word(owner) + uint_word(epoch, 2**32 - 1)
    return _digest(consent_domain(chain_id, token), REVOKE_ALL_TYPE, words)


def surrender_digest(chain_id: int, token: bytes, holder: bytes, ids: Sequence[bytes]) -> bytes:
    """What a trainer signs to give consent tokens back."""
    words = address_word(holder) + _hash_array(ids)
    return _digest(consent_domain(chain_id, token), SURRENDER_TYPE, words)


def settlement_digest(chain_id: int, escrow: bytes, job: bytes, root: int, statement: bytes) -> bytes:
    """What q keepers sign to replace a job's opening root by a final one."""
    words = bytes32_word(job) + uint_word(root) + bytes32_word(statement)
    return _digest(escrow_domain(chain_id, escrow), SETTLEMENT_TYPE, words)


def release_request_digest(chain_id: int, escrow: bytes, job: bytes, consent: bytes, keeper: int, body: bytes) -> bytes:
    """What a runner signs over a whole release request; `body` is sha256 of its dag-cbor."""
    words = bytes32_word(job) + bytes32_word(consent) + uint_word(keeper, 255) + bytes32_word(body)
    return _digest(keeper_domain(chain_id, escrow), RELEASE_REQUEST_TYPE, words)


def receipt_digest(
    chain_id: int,
    escrow: bytes,
    job: bytes,
    consent: bytes,
    keeper: int,
    safe_block: bytes,
    latest_block: bytes,
    root: bytes,
    previous: bytes,
) -> bytes:
    """What a keeper signs over one release: both block hashes it read, the root over what it gave, its log before."""
    words = (
        bytes32_word(job)
        + bytes32_word(consent)
        + uint_word(keeper, 255)
        + bytes32_word(safe_block)
        + bytes32_word(latest_block)
        + bytes32_word(root)
        + bytes32_word(previous)
    )
    return _digest(keeper_domain(chain_id, escrow), RECEIPT_TYPE, words)


def proposal_digest(chain_id: int, escrow: bytes, job: bytes, root: int, statement: bytes) -> bytes:
    """What a job's payer or runner signs to ask keepers for a settlement."""
    words = bytes32_word(job) + uint_word(root) + bytes32_word(statement)
    return _digest(keeper_domain(chain_id, escrow), PROPOSAL_TYPE, words)


def ledger_total_digest(chain_id: int, escrow: bytes, job: bytes, consent: bytes, record_epochs: int) -> bytes:
    """What a runner signs after a revocation: the record-epochs that this consent's data went through."""
    words = bytes32_word(job) + bytes32_word(consent) + uint_word(record_epochs, UINT64_MAX)
    return _digest(keeper_domain(chain_id, escrow), LEDGER_TOTAL_TYPE, words)


def permit_digest(domain: bytes, owner: bytes, spender: bytes, value: int, nonce: int, deadline: int) -> bytes:
    """What a token's holder signs to approve `spender` (ERC-2612); `domain` is the token's own DOMAIN_SEPARATOR."""
    words = address_word(owner) + address_word(spender) + uint_word(value) + uint_word(nonce) + uint_word(deadline)
    return _digest(bytes32_word(domain), PERMIT_TYPE, words)
