# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Who signed a digest: a key (ECDSA, low s only), else a contract wallet (ERC-1271).
@notice The key is tried first, because since EIP-7702 an account with a key may carry code as well. The wallet is asked
        with a bounded amount of gas and may only read, so that one of them cannot spoil a batch of many.
"""

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")
# Half of the order of secp256k1: of the two values of s that verify, only the lower one is a signature (EIP-2).
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
ERC1271_MAGIC: constant(bytes32) = 0x1626ba7e00000000000000000000000000000000000000000000000000000000
ERC1271_GAS: constant(uint256) = 1_000_000


@internal
@view
def _domain(name_hash: bytes32) -> bytes32:
    """
    @notice The EIP-712 domain separator of this contract on this chain.
    """
    return keccak256(abi_encode(DOMAIN_TYPE, name_hash, VERSION_HASH, chain.id, self))


@internal
@pure
def _recover(digest: bytes32, v: uint256, r: uint256, s: uint256) -> address:
    """
    @notice The key's address, or 0 for anything but one well-formed signature.
    """
    if s > HALF_ORDER:
        return empty(address)
    return ecrecover(digest, v, r, s)


@internal
@view
def _is_signed(signer: address, digest: bytes32, signature: Bytes[1024]) -> bool:
    """
    @notice Whether `signer`, which is never 0, signed `digest`.
    """
    if signer == empty(address):
        return False
    if len(signature) == 65:
        key: address = self._recover(
            digest,
            convert(slice(signature, 64, 1), uint256),
            extract32(signature, 0, output_type=uint256),
            extract32(signature, 32, output_type=uint256),
        )
        if key == signer:
            return True
    if not signer.is_contract:
        return False
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        signer,
        abi_encode(digest, signature, method_id=method_id("isValidSignature(bytes32,bytes)")),
        max_outsize=32,
        gas=ERC1271_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(answer) == 32 and convert(answer, bytes32) == ERC1271_MAGIC
