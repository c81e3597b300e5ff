"""A secp256k1 account: its address, its signatures, and recovery of the signer from a signature.

Promises: signatures have a low s (EIP-2) and v in {27, 28}; recovery accepts nothing else, so a message has one valid
signature per key form. The key never shows in a repr, an error or a pickle.
"""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn, cast

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from core.errors import InvalidInput
from core.ids import Address

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def address_of(public_key: bytes) -> Address:
    """The address of an uncompressed public key (65 bytes, 0x04 in front): the last 20 bytes of its Keccak-256."""
    if len(public_key) != 65 or public_key[0] != 4:
        raise InvalidInput("Expected an uncompressed secp256k1 public key of 65 bytes.")
    return Address(keccak(public_key[1:])[12:])


class Transaction(NamedTuple):
    """What an EIP-1559 transaction says; fees are wei per gas, `to` None creates a contract."""

    chain_id: int
    nonce: int
    max_priority_fee: int
    max_fee: int
    gas: int
    to: Address | None
    value: int
    data: bytes


def read_transaction(raw: bytes) -> Transaction:
    """What a transaction that `Account.sign_transaction` made says; `InvalidInput` for other bytes."""
    import rlp  # type: ignore[import-untyped,unused-ignore]

    try:
        if raw[:1] != b"\x02":
            raise ValueError
        chain_id, nonce, tip, fee, gas, to, value, data, _, _, _, _ = rlp.decode(raw[1:])
        words = (int.from_bytes(word, "big") for word in (chain_id, nonce, tip, fee, gas, value))
        chain, number, tip_, fee_, limit, amount = words
        return Transaction(chain, number, tip_, fee_, limit, Address(to) if to else None, amount, data)
    except (rlp.DecodingError, ValueError, TypeError):
        raise InvalidInput("These bytes are not a transaction of type 2.") from None


def sender_of(raw: bytes) -> Address:
    """Whose transaction it is, by its signature; `InvalidInput` for bytes that `read_transaction` would not take."""
    import rlp  # type: ignore[import-untyped,unused-ignore]

    read_transaction(raw)
    *fields, parity, r, s = rlp.decode(raw[1:])
    signature = r.rjust(32, b"\0") + s.rjust(32, b"\0") + bytes([27 + int.from_bytes(parity, "big")])
    return recover(keccak(b"\x02" + rlp.encode(fields)), signature)


def check_signed(raw: bytes, *, sender: Address, chain_id: int, to: Address, data: bytes) -> bytes:
    """The hash of a transaction that was signed elsewhere, if it is `sender`'s and does just this call, without money.

    Nonce, gas and fees are the sender's to choose. `InvalidInput` says what is another.
    """
    found = read_transaction(raw)
    said = (
        (found.chain_id == chain_id, f"It is for chain {found.chain_id}, not {chain_id}."),
        (found.to == to, "It calls another contract."),
        (found.value == 0, "It sends money along."),
        (found.data == data, "It says something else than what was to be signed."),
        (sender_of(raw) == sender, "Somebody else signed it."),
    )
    wrong = " ".join(reason for holds, reason in said if not holds)
    if wrong:
        raise InvalidInput(
            f"The transaction is not the one that was asked for. {wrong}", hint="Sign the fields as they were given."
        )
    return keccak(raw)


class Account:
    """One key pair. `address` is its 20-byte EVM address."""

    __slots__ = ("_key", "address")

    def __init__(self, key: bytes) -> None:
        """`key` is the private scalar, 32 bytes big-endian, in 1 … n − 1; else `InvalidInput`."""
        if len(key) != 32 or not 0 < int.from_bytes(key, "big") < SECP256K1_ORDER:
            raise InvalidInput("A private key is 32 bytes, above zero and below the order of secp256k1.")
        self._key = PrivateKey(key)
        self.address: Address = address_of(self._key.public_key.format(compressed=False))

    def sign_hash(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest: r[32] ‖ s[32] ‖ v[1], deterministic (RFC 6979), low s, v 27 or 28."""
        if len(digest) != 32:
            raise InvalidInput(f"A digest is 32 bytes, not {len(digest)}.")
        signature = cast(bytes, self._key.sign_recoverable(digest, hasher=None))
        return signature[:64] + bytes([27 + signature[64]])

    def sign_transaction(
        self,
        *,
        chain_id: int,
        nonce: int,
        max_priority_fee: int,
        max_fee: int,
        gas: int,
        to: Address | None,
        value: int,
        data: bytes,
    ) -> bytes:
        """The raw EIP-1559 transaction (type 2, empty access list), signed; `to` None creates a contract.

        Fees are wei per gas. The chain id is inside the signature, so another chain cannot accept it.
        """
        import rlp  # type: ignore[import-untyped,unused-ignore]

        fields: list[Any] = [chain_id, nonce, max_priority_fee, max_fee, gas, to or b"", value, data, []]
        signature = self.sign_hash(keccak(b"\x02" + rlp.encode(fields)))
        parity, r, s = (
            signature[64] - 27,
            int.from_bytes(signature[:32], "big"),
            int.from_bytes(signature[32:64], "big"),
        )
        return b"\x02" + cast(bytes, rlp.encode([*fields, parity, r, s]))

    def __repr__(self) -> str:
        return f"Account(0x{self.address.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An account holds a private key and is not pickled.")


def recover(digest: bytes, signature: bytes) -> Address:
    """The address whose key made `signature` (r ‖ s ‖ v, 65 bytes) over the 32-byte `digest`.

    A high s, a v other than 27 or 28, or numbers that are no signature at all are `InvalidInput`.
    """
    if len(digest) != 32 or len(signature) != 65 or signature[64] not in (27, 28):
        raise InvalidInput("Expected a 32-byte digest and a 65-byte signature that ends in v = 27 or 28.")
    if int.from_bytes(signature[32:64], "big") > SECP256K1_ORDER // 2:
        raise InvalidInput("The signature has a high s (EIP-2); its low form is the only one accepted.")
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([signature[64] - 27]), digest, hasher=None)
    except Exception:
        raise InvalidInput("These bytes are not a signature of any key over this digest.") from None
    return address_of(key.format(compressed=False))
