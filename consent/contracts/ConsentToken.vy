# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Consent tokens: what owners signed, held by trainers who cannot pass them on.
@license Apache-2.0
@notice ERC-721 with ERC-5192 (soulbound), ERC-7858 (expiry) and ERC-5267. A token's id is
        keccak256(EIP-712 digest of the consent | holder), so its every property follows from the signed struct.
        Holding a token does not make it live: only `status` and `live_packed` say that. Nothing here has an
        administrator, a pause or an upgrade; no bit is ever cleared and no ended id is ever minted.
"""
import consent_type
import signing

NAME_HASH: constant(bytes32) = keccak256("Allod Consent")
REVOKE_TYPE: constant(bytes32) = keccak256("Revoke(address owner,bytes32[] ids)")
REVOKE_NONCES_TYPE: constant(bytes32) = keccak256("RevokeNonces(address owner,uint256 word,uint256 mask)")
REVOKE_ALL_TYPE: constant(bytes32) = keccak256("RevokeAll(address owner,uint32 epoch)")
SURRENDER_TYPE: constant(bytes32) = keccak256("Surrender(address holder,bytes32[] ids)")

M40: constant(uint256) = 2**40 - 1
M56: constant(uint256) = 2**56 - 1
M96: constant(uint256) = 2**96 - 1
M16: constant(uint256) = 2**16 - 1

# Reasons in `status`, in `Skipped`, and behind refusals.
LIVE: constant(uint8) = 0
NEVER_MINTED: constant(uint8) = 1
BURNED: constant(uint8) = 2
EPOCH_ENDED: constant(uint8) = 3
NONCE_ENDED: constant(uint8) = 4
NOT_YET: constant(uint8) = 5
EXPIRED: constant(uint8) = 6
USED_UP: constant(uint8) = 7
MINTED: constant(uint8) = 8
MALFORMED: constant(uint8) = 9
IS_OFFER: constant(uint8) = 10
BAD_SIGNATURE: constant(uint8) = 11

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    token_id: indexed(uint256)

event Locked:
    tokenId: uint256

event TokenExpiryUpdated:
    tokenId: indexed(uint256)
    startTime: indexed(uint256)
    endTime: indexed(uint256)

event Approval:  # ERC-721 asks for the two; nothing emits them
    owner: indexed(address)
    approved: indexed(address)
    token_id: indexed(uint256)

event ApprovalForAll:
    owner: indexed(address)
    operator: indexed(address)
    approved: bool

event Tombstoned:
    id: indexed(bytes32)

event Skipped:
    id: indexed(bytes32)
    reason: uint8

event EpochRaised:
    owner: indexed(address)
    epoch: uint256

name: public(constant(String[13])) = "Allod Consent"
symbol: public(constant(String[7])) = "CONSENT"

DOMAIN: immutable(bytes32)
CHAIN: immutable(uint256)

# id -> holder160 | notBefore40 | expiry40 | used16; an ended one keeps all but the holder.
token: public(HashMap[bytes32, uint256])
balances: HashMap[address, uint256]
epochs: public(HashMap[address, uint256])
# owner160 | the nonce's word56 -> 256 bits, the same ones in every epoch. One flat key saves a hash at every mint.
revoked: HashMap[uint256, uint256]


@deploy
def __init__():
    DOMAIN = signing._domain(NAME_HASH)
    CHAIN = chain.id


# -- words and digests -------------------------------------------------------------------------------------------------


@internal
@view
def _typed(struct_hash: bytes32) -> bytes32:
    domain: bytes32 = DOMAIN
    if chain.id != CHAIN:  # the chain split since deployment
        domain = signing._domain(NAME_HASH)
    return keccak256(concat(x"1901", domain, struct_hash))


@internal
@view
def _digest(consent: consent_type.Consent) -> bytes32:
    domain: bytes32 = DOMAIN
    if chain.id != CHAIN:
        domain = signing._domain(NAME_HASH)
    return keccak256(concat(x"1901", domain, keccak256(abi_encode(consent_type.TYPE, consent))))


@internal
@pure
def _id(digest: bytes32, holder: address) -> bytes32:
    return keccak256(concat(digest, convert(holder, bytes20)))


@internal
@view
def _hash_ids(ids: DynArray[bytes32, 16]) -> bytes32:
    # EIP-712 hashes an array as its elements alone, without offset and length.
    return keccak256(slice(abi_encode(ids), 64, 32 * len(ids)))


@internal
@view
def _ended(owner: address, nonce: uint256) -> uint8:
    """
    @notice Whether the owner's epoch or revocation bits end this nonce.
    """
    if nonce >> 64 != self.epochs[owner]:
        return EPOCH_ENDED
    if (self.revoked[(convert(owner, uint256) << 56) | ((nonce >> 8) & M56)] >> (nonce & 255)) & 1 == 1:
        return NONCE_ENDED
    return LIVE


@internal
@view
def _liveness(word: uint256, owner: address, nonce: uint256) -> uint8:
    if word == 0:
        return NEVER_MINTED
    if word >> 96 == 0:
        return BURNED
    ended: uint8 = self._ended(owner, nonce)
    if ended != LIVE:
        return ended
    if block.timestamp < (word >> 56) & M40:
        return NOT_YET
    if block.timestamp >= (word >> 16) & M40:
        return EXPIRED
    return LIVE


@internal
@view
def _status(consent: consent_type.Consent, id: bytes32) -> uint8:
    word: uint256 = self.token[id]
    reason: uint8 = self._liveness(word, consent.owner, convert(consent.nonce, uint256))
    if reason == LIVE and consent.maxUses != 0 and word & M16 >= convert(consent.maxUses, uint256):
        return USED_UP
    return reason


# -- minting -----------------------------------------------------------------------------------------------------------


@internal
def _mint(consent: consent_type.Consent, id: bytes32) -> uint8:
    """
    @notice Make token `id` of a consent that its owner signed or sends, or return why that cannot be. `grantee` is the
            holder here, also where the signed consent is an offer.
    """
    if consent.escrow == empty(address):
        return MALFORMED
    if consent.notBefore >= consent.expiry:
        return MALFORMED
    if block.timestamp >= convert(consent.expiry, uint256):
        return EXPIRED
    if self.token[id] != 0:
        return BURNED if self.token[id] >> 96 == 0 else MINTED
    # The rule of `_ended`, written out: a call would cost a grant 70 gas.
    if convert(consent.nonce, uint256) >> 64 != self.epochs[consent.owner]:
        return EPOCH_ENDED
    if (
        self.revoked[(convert(consent.owner, uint256) << 56) | ((convert(consent.nonce, uint256) >> 8) & M56)]
        >> (convert(consent.nonce, uint256) & 255)
    ) & 1 == 1:
        return NONCE_ENDED
    self.token[id] = (
        (convert(consent.grantee, uint256) << 96)
        | (convert(consent.notBefore, uint256) << 56)
        | (convert(consent.expiry, uint256) << 16)
    )
    self.balances[consent.grantee] += 1
    log Transfer(sender=empty(address), receiver=consent.grantee, token_id=convert(id, uint256))
    log Locked(tokenId=convert(id, uint256))
    log TokenExpiryUpdated(
        tokenId=convert(id, uint256),
        startTime=convert(consent.notBefore, uint256),
        endTime=convert(consent.expiry, uint256),
    )
    return LIVE


@internal
@pure
def _words(reason: uint8) -> String[17]:
    # One variable for all of them keeps the callers' memory small.
    words: String[17] = "malformed consent"
    if reason == NEVER_MINTED:
        words = "never minted"
    elif reason == BURNED:
        words = "burned"
    elif reason == EPOCH_ENDED:
        words = "epoch ended"
    elif reason == NONCE_ENDED:
        words = "nonce revoked"
    elif reason == NOT_YET:
        words = "not yet valid"
    elif reason == EXPIRED:
        words = "expired"
    elif reason == USED_UP:
        words = "used up"
    elif reason == MINTED:
        words = "already minted"
    return words


@external
def grant(consent: consent_type.Consent):
    """
    @notice Mint a consent of the caller's to the trainer it names.
    """
    assert msg.sender == consent.owner, "not the owner"
    assert consent.grantee != empty(address), "an offer is taken, not granted"
    # `_digest` and `_id` written out: the calls would cost 160 gas.
    # `_digest` and `_id` written out: the calls would cost a grant 130 gas.
    domain: bytes32 = DOMAIN
    if chain.id != CHAIN:
        domain = signing._domain(NAME_HASH)
    digest: bytes32 = keccak256(concat(x"1901", domain, keccak256(abi_encode(consent_type.TYPE, consent))))
    id: bytes32 = keccak256(concat(digest, convert(consent.grantee, bytes20)))
    reason: uint8 = self._mint(consent, id)
    assert reason == LIVE, self._words(reason)


@external
def redeem(consents: DynArray[consent_type.Consent, 16], signatures: DynArray[Bytes[1024], 16]) -> uint256:
    """
    @notice Mint signed consents to the trainers they name. Anyone may send them; one that cannot be minted is skipped.
    @return Bit i is set where consent i was minted
    """
    assert len(consents) == len(signatures), "one signature per consent"
    minted: uint256 = 0
    for i: uint256 in range(len(consents), bound=16):
        consent: consent_type.Consent = consents[i]
        digest: bytes32 = self._digest(consent)
        id: bytes32 = self._id(digest, consent.grantee)
        reason: uint8 = IS_OFFER
        if consent.grantee != empty(address):
            reason = BAD_SIGNATURE
            if signing._is_signed(consent.owner, digest, signatures[i]):
                reason = self._mint(consent, id)
        if reason == LIVE:
            minted |= 1 << i
        else:
            log Skipped(id=id, reason=reason)
    return minted


@external
def take(consent: consent_type.Consent, signature: Bytes[1024]):
    """
    @notice Mint an offer to the caller, who takes it in a transaction of their own.
    """
    assert consent.grantee == empty(address), "not an offer"
    digest: bytes32 = self._digest(consent)
    assert signing._is_signed(consent.owner, digest, signature), "bad signature"
    id: bytes32 = self._id(digest, msg.sender)
    taken: consent_type.Consent = consent
    taken.grantee = msg.sender
    reason: uint8 = self._mint(taken, id)
    assert reason == LIVE, self._words(reason)


# -- ending ------------------------------------------------------------------------------------------------------------


@internal
@view
def _id_for(consent: consent_type.Consent, holder: address) -> bytes32:
    if consent.grantee != holder:
        # With another holder the id could never be minted: ending it would look done and do nothing.
        assert consent.grantee == empty(address), "wrong holder"
    assert holder != empty(address), "wrong holder"
    return keccak256(concat(self._digest(consent), convert(holder, bytes20)))


@internal
def _end(id: bytes32, holder: address, begins: uint40, ends: uint40):
    """
    @notice Burn the token, or make sure that it is never minted; nothing where it ended before.
    """
    word: uint256 = self.token[id]
    if word >> 96 != 0:
        self.token[id] = word & M96
        self.balances[holder] -= 1
        log Transfer(sender=holder, receiver=empty(address), token_id=convert(id, uint256))
    elif word == 0:
        self.token[id] = (convert(begins, uint256) << 56) | (convert(ends, uint256) << 16)
        log Tombstoned(id=id)


@external
def revoke(consent: consent_type.Consent, holder: address):
    """
    @notice End the caller's consent towards this holder: burn the token, or tombstone it while it is unminted. An
            offer stays open to others; `revoke_nonces` ends it for all, and many consents at once.
    """
    assert consent.owner == msg.sender, "not the owner"
    self._end(self._id_for(consent, holder), holder, consent.notBefore, consent.expiry)


@external
def revoke_by_sig(consents: DynArray[consent_type.Consent, 16], holders: DynArray[address, 16], signature: Bytes[1024]):
    """
    @notice `revoke` for the one owner of all these consents, who signed Revoke(owner, ids).
    """
    assert len(consents) == len(holders), "one holder per consent"
    assert len(consents) != 0, "nothing to revoke"
    owner: address = consents[0].owner
    ids: DynArray[bytes32, 16] = []
    for i: uint256 in range(len(consents), bound=16):
        assert consents[i].owner == owner, "not the owner"
        ids.append(self._id_for(consents[i], holders[i]))
    digest: bytes32 = self._typed(keccak256(abi_encode(REVOKE_TYPE, owner, self._hash_ids(ids))))
    assert signing._is_signed(owner, digest, signature), "bad signature"
    for i: uint256 in range(len(consents), bound=16):
        self._end(ids[i], holders[i], consents[i].notBefore, consents[i].expiry)


@external
def surrender(consents: DynArray[consent_type.Consent, 16]):
    """
    @notice Give back the caller's tokens of these consents; unminted ones are refused for good.
    """
    for consent: consent_type.Consent in consents:
        self._end(self._id_for(consent, msg.sender), msg.sender, consent.notBefore, consent.expiry)


@external
def surrender_by_sig(consents: DynArray[consent_type.Consent, 16], holder: address, signature: Bytes[1024]):
    """
    @notice `surrender` for `holder`, who signed Surrender(holder, ids).
    """
    ids: DynArray[bytes32, 16] = []
    for consent: consent_type.Consent in consents:
        ids.append(self._id_for(consent, holder))
    digest: bytes32 = self._typed(keccak256(abi_encode(SURRENDER_TYPE, holder, self._hash_ids(ids))))
    assert signing._is_signed(holder, digest, signature), "bad signature"
    for i: uint256 in range(len(consents), bound=16):
        self._end(ids[i], holder, consents[i].notBefore, consents[i].expiry)


@external
def revoke_nonces(word: uint256, mask: uint256):
    """
    @notice End every consent of the caller whose nonce has this word and a bit of `mask`: minted, signed or to come,
            in every epoch. There is no event: the word itself is the record, and `revoked_words` reads it.
    """
    assert word <= M56, "no such word"
    self.revoked[(convert(msg.sender, uint256) << 56) | word] |= mask


@external
def revoke_nonces_by_sig(owner: address, word: uint256, mask: uint256, signature: Bytes[1024]):
    """
    @notice `revoke_nonces` for `owner`, who signed RevokeNonces(owner, word, mask).
    """
    assert word <= M56, "no such word"
    digest: bytes32 = self._typed(keccak256(abi_encode(REVOKE_NONCES_TYPE, owner, word, mask)))
    assert signing._is_signed(owner, digest, signature), "bad signature"
    self.revoked[(convert(owner, uint256) << 56) | word] |= mask


@internal
def _raise_epoch(owner: address):
    epoch: uint256 = self.epochs[owner] + 1
    assert epoch < 2**32, "no epoch left"
    self.epochs[owner] = epoch
    log EpochRaised(owner=owner, epoch=epoch)


@external
def revoke_all():
    """
    @notice End every consent that the caller ever signed.
    """
    self._raise_epoch(msg.sender)


@external
def revoke_all_by_sig(owner: address, epoch: uint32, signature: Bytes[1024]):
    """
    @notice `revoke_all` for `owner`, who signed RevokeAll(owner, epoch) naming the current epoch: it counts once.
    """
    assert convert(epoch, uint256) == self.epochs[owner], "not the current epoch"
    digest: bytes32 = self._typed(keccak256(abi_encode(REVOKE_ALL_TYPE, owner, epoch)))
    assert signing._is_signed(owner, digest, signature), "bad signature"
    self._raise_epoch(owner)


# -- use ---------------------------------------------------------------------------------------------------------------


@external
def use(holder: address, consents: DynArray[consent_type.Consent, 64]) -> bytes32:
    """
    @notice Count one use of each, by the escrow that each of them names and for its holder. All count or none.
    @dev The escrow passes its own caller as `holder`: no stranger can burn another's uses.
    @return keccak256(abi.encode(bytes32[] ids))
    """
    ids: DynArray[bytes32, 64] = []
    for consent: consent_type.Consent in consents:
        assert msg.sender == consent.escrow, "not the consent's escrow"
        assert consent.maxUses != 0, "not counted"
        id: bytes32 = self._id(self._digest(consent), holder)
        reason: uint8 = self._status(consent, id)
        assert reason == LIVE, self._words(reason)
        self.token[id] += 1
        ids.append(id)
    return keccak256(abi_encode(ids))


# -- views of ours -----------------------------------------------------------------------------------------------------


@external
@view
def digest_of(consent: consent_type.Consent) -> bytes32:
    """
    @notice What the owner signs.
    """
    return self._digest(consent)


@external
@view
def id_of(consent: consent_type.Consent, holder: address) -> bytes32:
    """
    @notice The token that the consent is, or would be, in the hands of `holder`.
    """
    return self._id(self._digest(consent), holder)


@external
@view
def status(consent: consent_type.Consent, holder: address) -> uint8:
    """
    @notice 0 live; 1 never minted; 2 burned or tombstoned; 3 epoch ended; 4 nonce revoked; 5 not yet; 6 expired;
            7 used up. The first that applies, in this order.
    """
    return self._status(consent, self._id(self._digest(consent), holder))


@external
@view
def revoked_words(owner: address, word: uint256) -> uint256:
    """
    @notice The 256 revocation bits of this word of the owner's nonces.
    """
    assert word <= M56, "no such word"
    return self.revoked[(convert(owner, uint256) << 56) | word]


@external
@view
def live_packed(pairs: Bytes[524288]) -> DynArray[uint256, 32]:
    """
    @notice Of up to 8,192 pairs id32 | owner20 | nonce12: bit i & 255 of word i >> 8 says whether token i is live in
            everything but its uses. The caller vouches that owner and nonce belong to the id.
    """
    count: uint256 = len(pairs) // 64
    assert len(pairs) == count * 64, "not whole pairs"
    out: DynArray[uint256, 32] = []
    bits: uint256 = 0
    for i: uint256 in range(count, bound=8192):
        pair: uint256 = extract32(pairs, i * 64 + 32, output_type=uint256)
        word: uint256 = self.token[extract32(pairs, i * 64)]
        if self._liveness(word, convert(pair >> 96, address), pair & M96) == LIVE:
            bits |= 1 << (i & 255)
        if i & 255 == 255:
            out.append(bits)
            bits = 0
    if count & 255 != 0:
        out.append(bits)
    return out


# -- the standards -----------------------------------------------------------------------------------------------------


@internal
@view
def _held(token_id: uint256) -> uint256:
    word: uint256 = self.token[convert(token_id, bytes32)]
    assert word >> 96 != 0, "no such token"
    return word


@external
@view
def ownerOf(token_id: uint256) -> address:
    return convert(self._held(token_id) >> 96, address)


@external
@view
def balanceOf(owner: address) -> uint256:
    """
    @notice ERC-721: how many tokens, among them expired ones and ones whose nonce was revoked.
    """
    assert owner != empty(address), "nobody holds nothing"
    return self.balances[owner]


@external
@view
def locked(token_id: uint256) -> bool:
    """
    @notice ERC-5192: always.
    """
    return self._held(token_id) != 0


@external
@view
def tokenURI(token_id: uint256) -> String[426]:
    """
    @notice ERC-721 metadata, in the answer itself.
    """
    word: uint256 = self._held(token_id)
    return concat(
        'data:application/json,{"name":"Allod consent","description":"An owner licenses one dataset to the holder. Not transferable, revocable at any time.","attributes":[{"display_type":"date","trait_type":"from","value":',
        uint2str((word >> 56) & M40),
        '},{"display_type":"date","trait_type":"until","value":',
        uint2str((word >> 16) & M40),
        "}]}",
    )


@external
@view
def getApproved(token_id: uint256) -> address:
    return convert(0 * self._held(token_id), address)


@external
@view
def isApprovedForAll(owner: address, operator: address) -> bool:
    return False


@external
def approve(to: address, token_id: uint256):
    raise "soulbound"


@external
def setApprovalForAll(operator: address, approved: bool):
    raise "soulbound"


@external
def transferFrom(sender: address, receiver: address, token_id: uint256):
    raise "soulbound"


@external
def safeTransferFrom(sender: address, receiver: address, token_id: uint256, data: Bytes[1024] = b""):
    raise "soulbound"


@external
@view
def expiryType() -> uint8:
    """
    @notice ERC-7858: TIME_BASED.
    """
    return 1


@external
@view
def startTime(token_id: uint256) -> uint256:
    return (self._held(token_id) >> 56) & M40


@external
@view
def endTime(token_id: uint256) -> uint256:
    return (self._held(token_id) >> 16) & M40


@external
@view
def isTokenExpired(token_id: uint256) -> bool:
    return block.timestamp >= (self._held(token_id) >> 16) & M40


@external
@view
def supportsInterface(interface_id: bytes4) -> bool:
    """
    @notice ERC-165: itself, ERC-721, its metadata, ERC-5192, ERC-7858.
    """
    return interface_id in [0x01ffc9a7, 0x80ac58cd, 0x5b5e139f, 0xb45a3c0e, 0x3ebdfa31]


@external
@view
def eip712Domain() -> (bytes1, String[13], String[1], uint256, address, bytes32, DynArray[uint256, 1]):
    """
    @notice ERC-5267.
    """
    return 0x0f, name, "1", chain.id, self, empty(bytes32), []
