# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Datasets that owners put on chain: one event each, no storage.
@license Apache-2.0
@notice asset = keccak256(owner | digest), so nobody registers in another's name. A registration says that the owner
        stands behind this header digest and these terms. A signed one may be sent again by anyone: the order of events
        means nothing, and which terms hold is decided by the consent that names them.
"""
import signing

NAME_HASH: constant(bytes32) = keccak256("Allod Registry")
REGISTER_TYPE: constant(bytes32) = keccak256("Register(address owner,bytes32 digest,bytes32 terms)")

event Registered:
    owner: indexed(address)
    asset: indexed(bytes32)
    digest: bytes32
    terms: bytes32


@internal
def _register(owner: address, digest: bytes32, terms: bytes32) -> bytes32:
    asset: bytes32 = keccak256(concat(convert(owner, bytes20), digest))
    log Registered(owner=owner, asset=asset, digest=digest, terms=terms)
    return asset


@external
def register(digest: bytes32, terms: bytes32) -> bytes32:
    """
    @notice Register a dataset of the caller's.
    @param digest sha256 of the dataset's header
    @param terms sha256 of the canonical terms document
    @return The asset
    """
    return self._register(msg.sender, digest, terms)


@external
def register_by_sig(owner: address, digest: bytes32, terms: bytes32, signature: Bytes[1024]) -> bytes32:
    """
    @notice Register a dataset of `owner`, who signed Register(owner, digest, terms).
    @return The asset
    """
    struct_hash: bytes32 = keccak256(abi_encode(REGISTER_TYPE, owner, digest, terms))
    typed: bytes32 = keccak256(concat(x"1901", signing._domain(NAME_HASH), struct_hash))
    assert signing._is_signed(owner, typed, signature), "bad signature"
    return self._register(owner, digest, terms)


@external
@view
def eip712Domain() -> (bytes1, String[14], String[1], uint256, address, bytes32, DynArray[uint256, 1]):
    """
    @notice ERC-5267.
    """
    return 0x0f, "Allod Registry", "1", chain.id, self, empty(bytes32), []
