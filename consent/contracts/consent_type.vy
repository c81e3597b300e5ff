# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title The consent that an owner signs, as one EIP-712 struct.
@notice nonce = epoch32 | word56 | bit8. grantee 0 makes it an offer, runner 0 means any, maxUses 0 means unlimited.
"""

struct Consent:
    owner: address
    grantee: address
    asset: bytes32
    terms: bytes32
    purpose: bytes32
    runner: address
    escrow: address
    notBefore: uint40
    expiry: uint40
    maxUses: uint16
    nonce: uint96


TYPE: constant(bytes32) = keccak256(
    "Consent(address owner,address grantee,bytes32 asset,bytes32 terms,bytes32 purpose,address runner,address escrow,uint40 notBefore,uint40 expiry,uint16 maxUses,uint96 nonce)"
)
