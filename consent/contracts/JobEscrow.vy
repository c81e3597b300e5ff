# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Escrow of jobs: one ERC-20, payers' deposits, and lanes whose sum trees pay owners.
@license Apache-2.0
@notice The opening tree stands: from `start` on every leaf of it is paid to whoever it names, unless the runner let the
        claims begin earlier (`confirm`) or q keepers of the job's committee replaced the tree by a smaller one
        (`settle`). Nobody cancels alone, nobody pauses, nobody upgrades. Money leaves to a payee in the tree or to the
        payer, and nowhere else. Invariant: the token's balance covers deposits plus what remains in all lanes.

        node      = first 24 bytes of keccak256 | sum64, so no sum can be lied about
        times     = opened << 40 | start
        order     = keccak256(abi.encode(runner, spec, counted));  spec = keccak256(brief | committee)
        lane word = first 24 bytes of keccak256(times | root | order) | remaining64, never cleared once written
        paid word = opened40 | 216 bits by heap position; another `opened` means that nothing was paid yet
        All amounts are in UNITs, except the one that `deposit` takes.
@dev Whatever calls the token holds the lock; `open`, `confirm` and `settle` do not call it and need none. They could be
        called by a token that runs inside one of the others: `confirm` and `settle` touch only lanes whose claims have
        not begun, and everything that the others keep over a call is written before it.
"""
from ethereum.ercs import IERC20
import consent_type
import signing

interface IConsentToken:
    def use(holder: address, consents: DynArray[consent_type.Consent, 64]) -> bytes32: nonpayable

interface IDecimals:
    def decimals() -> uint8: view

struct Claim:
    payer: address
    lane: uint96
    times: uint256
    root: uint256
    order: bytes32
    consent: bytes32
    payee: address
    amount: uint256
    position: uint256  # in heap order: the root is 1, the children of p are 2p and 2p + 1
    proof: DynArray[uint256, 20]

event Deposited:
    payer: indexed(address)
    amount: uint256

event Withdrawn:
    payer: indexed(address)
    amount: uint256

event Opened:
    payer: indexed(address)
    lane: indexed(uint256)
    times: uint256
    runner: address
    spec: bytes32
    root: uint256
    counted: bytes32

event Settled:
    payer: indexed(address)
    lane: indexed(uint256)
    times: uint256
    root: uint256
    statement: bytes32

event Paid:
    payee: indexed(address)
    payer: indexed(address)
    lane: uint256
    consent: bytes32
    amount: uint256

event ClaimSkipped:
    index: uint256
    reason: uint8

event Reclaimed:
    payer: indexed(address)
    lane: indexed(uint256)
    amount: uint256

NAME_HASH: constant(bytes32) = keccak256("Allod Escrow")
SETTLEMENT_TYPE: constant(bytes32) = keccak256("Settlement(bytes32 job,uint256 root,bytes32 statement)")
M40: constant(uint256) = 2**40 - 1
M64: constant(uint256) = 2**64 - 1
M255: constant(uint256) = 2**255 - 1
HIGH: constant(uint256) = max_value(uint256) - M64
RUN_TIME: constant(uint256) = 30 * 86400
CLAIM_TIME: constant(uint256) = 180 * 86400
BITS: constant(uint256) = 216

# Reasons in `ClaimSkipped`.
PAID: constant(uint8) = 0
NO_SUCH_JOB: constant(uint8) = 1
NOT_YET: constant(uint8) = 2
BAD_PROOF: constant(uint8) = 3
SPENT: constant(uint8) = 4
TRANSFER_FAILED: constant(uint8) = 5
NOTHING: constant(uint8) = 6

TOKEN: immutable(address)
UNIT: immutable(uint256)
CONSENTS: immutable(address)
DOMAIN: immutable(bytes32)
CHAIN: immutable(uint256)

deposits: public(HashMap[address, uint256])
# payer160 | lane96 -> the lane's word; -> word number -> paid bits. One flat key saves a hash at every access.
words: HashMap[uint256, uint256]
spent: HashMap[uint256, HashMap[uint256, uint256]]


@deploy
def __init__(token: address, unit: uint256, consents: address):
    """
    @param unit Base units of the token per UNIT: 10^max(0, decimals - 9)
    """
    decimals: uint256 = convert(staticcall IDecimals(token).decimals(), uint256)
    assert decimals <= 36, "too many decimals"
    assert unit == 10**max(decimals, 9) // 10**9, "wrong unit"
    assert consents.is_contract, "no consent token there"
    TOKEN = token
    UNIT = unit
    CONSENTS = consents
    DOMAIN = signing._domain(NAME_HASH)
    CHAIN = chain.id


@external
@view
def token() -> address:
    return TOKEN


@external
@view
def unit() -> uint256:
    return UNIT


@external
@view
def consents() -> address:
    return CONSENTS


@external
@view
def lanes(payer: address, lane: uint96) -> uint256:
    """
    @notice The lane's word: hash192 | remaining64, or 0 before its first job.
    """
    return self.words[self._key(payer, lane)]


@external
@view
def paid(payer: address, lane: uint96, number: uint256) -> uint256:
    """
    @notice A paid word of the lane: opened40 | bits of the heap positions 216 * number and up.
    """
    return self.spent[self._key(payer, lane)][number]


# -- words -------------------------------------------------------------------------------------------------------------


@internal
@pure
def _key(payer: address, lane: uint96) -> uint256:
    return (convert(payer, uint256) << 96) | convert(lane, uint256)


@internal
@pure
def _word(times: uint256, root: uint256, order: bytes32) -> uint256:
    return convert(keccak256(abi_encode(times, root, order)), uint256) & HIGH


# -- deposits ----------------------------------------------------------------------------------------------------------


@external
@nonreentrant
def deposit(amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    """
    @notice Bring `amount` base units, a whole number of UNITs. With v other than 0 the ERC-2612 permit is tried first;
            if it fails (somebody may have sent it already) the allowance decides.
    """
    assert amount % UNIT == 0, "not whole units"
    if v != 0:
        permitted: bool = raw_call(
            TOKEN,
            abi_encode(
                msg.sender, self, amount, deadline, v, r, s,
                method_id=method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
            ),
            revert_on_failure=False,
        )
    before: uint256 = staticcall IERC20(TOKEN).balanceOf(self)
    assert extcall IERC20(TOKEN).transferFrom(msg.sender, self, amount, default_return_value=True), "transfer failed"
    assert staticcall IERC20(TOKEN).balanceOf(self) == before + amount, "the token keeps a part"
    self.deposits[msg.sender] += amount // UNIT
    log Deposited(payer=msg.sender, amount=amount // UNIT)


@external
@nonreentrant
def withdraw(amount: uint256):
    """
    @notice Take `amount` UNITs of the caller's deposit back.
    """
    assert self.deposits[msg.sender] >= amount, "deposit too low"
    self.deposits[msg.sender] -= amount
    assert extcall IERC20(TOKEN).transfer(msg.sender, amount * UNIT, default_return_value=True), "transfer failed"
    log Withdrawn(payer=msg.sender, amount=amount)


# -- jobs --------------------------------------------------------------------------------------------------------------


@internal
def _open(
    lane: uint96, stop: uint256, runner: address, spec: bytes32, root: uint256, counted: bytes32, prev: uint256[3]
):
    key: uint256 = (convert(msg.sender, uint256) << 96) | convert(lane, uint256)
    old: uint256 = self.words[key]
    funds: uint256 = self.deposits[msg.sender]
    if old != 0:
        assert old & HIGH == convert(keccak256(abi_encode(prev)), uint256) & HIGH, "not the lane's former job"
        # Paid bits and job ids are told apart by `opened` alone.
        assert block.timestamp > prev[0] >> 40, "lane opened in this very block"
        if old & M64 != 0:
            assert block.timestamp > (prev[0] & M40) + CLAIM_TIME, "claims still run"
            funds += old & M64
    assert stop > block.timestamp, "stop out of range"
    assert stop <= unsafe_add(block.timestamp, RUN_TIME), "stop out of range"
    assert runner != empty(address), "no runner"
    amount: uint256 = root & M64
    assert funds >= amount, "deposit too low"
    times: uint256 = (block.timestamp << 40) | stop
    self.deposits[msg.sender] = unsafe_sub(funds, amount)
    self.words[key] = (
        convert(keccak256(abi_encode(times, root, keccak256(abi_encode(runner, spec, counted)))), uint256) & HIGH
    ) | amount
    log Opened(
        payer=msg.sender,
        lane=convert(lane, uint256),
        times=times,
        runner=runner,
        spec=spec,
        root=root,
        counted=counted,
    )


@external
def open(
    lane: uint96,
    stop: uint256,
    runner: address,
    spec: bytes32,
    root: uint256,
    counted: DynArray[consent_type.Consent, 64],
    prev: uint256[3],
):
    """
    @notice Open a job of the caller's in `lane` and lock the tree's sum.
    @param stop When claims start at the latest: within 30 days
    @param counted Every consent of the job with a finite number of uses: each loses one, for good
    @param prev times, root and order of the lane's former job as last written, or zeros for a fresh lane. What is left
                of it after its 180 days of claims returns to the deposit.
    """
    # Both branches without a local variable: one behind the array's 22 kB frame would cost 3,000 gas.
    if len(counted) == 0:
        self._open(lane, stop, runner, spec, root, empty(bytes32), prev)
    else:
        self._open(
            lane, stop, runner, spec, root, extcall IConsentToken(CONSENTS).use(msg.sender, counted), prev
        )


@external
def confirm(
    payer: address, lane: uint96, times: uint256, spec: bytes32, root: uint256, counted: bytes32, statement: bytes32
):
    """
    @notice The runner posts its statement and lets the claims begin. The tree stands, and no settlement can follow.
    """
    order: bytes32 = keccak256(abi_encode(msg.sender, spec, counted))
    amount: uint256 = root & M64
    key: uint256 = (convert(payer, uint256) << 96) | convert(lane, uint256)
    # `_word` written out here and below: a job's three transactions are what everybody pays for.
    assert self.words[key] == (
        convert(keccak256(abi_encode(times, root, order)), uint256) & HIGH
    ) | amount, "not the runner's open job"
    assert block.timestamp < times & M40, "claims have begun"
    now: uint256 = (times & ~M40) | block.timestamp
    self.words[key] = (convert(keccak256(abi_encode(now, root, order)), uint256) & HIGH) | amount
    log Settled(payer=payer, lane=convert(lane, uint256), times=now, root=root, statement=statement)


@external
def settle(
    payer: address,
    lane: uint96,
    times: uint256,
    runner: address,
    brief: bytes32,
    root: uint256,
    counted: bytes32,
    final: uint256,
    statement: bytes32,
    committee: bytes32,
    seats: DynArray[uint256[2], 16],
):
    """
    @notice Replace the tree by a smaller one that q keepers signed, refund the difference, let the claims begin.
    @param committee What the job's spec names: what the keepers signed contains it, so it is needed before they are known
    @param seats For each keeper, in the committee's order: its compact signature (ERC-2098: r, then the parity of y in
                 the top bit of s), or its address and 0 if it did not sign
    """
    order: bytes32 = keccak256(abi_encode(runner, keccak256(abi_encode(brief, committee)), counted))
    amount: uint256 = root & M64
    rest: uint256 = final & M64
    key: uint256 = (convert(payer, uint256) << 96) | convert(lane, uint256)
    assert self.words[key] == (
        convert(keccak256(abi_encode(times, root, order)), uint256) & HIGH
    ) | amount, "no such open job"
    assert block.timestamp < times & M40, "claims have begun"
    assert rest <= amount, "the sum may not rise"
    domain: bytes32 = DOMAIN
    if chain.id != CHAIN:  # the chain split since deployment
        domain = signing._domain(NAME_HASH)
    job: bytes32 = keccak256(abi_encode(chain.id, self, payer, lane, times >> 40, root, order))
    digest: bytes32 = keccak256(
        concat(0x1901, domain, keccak256(abi_encode(SETTLEMENT_TYPE, job, final, statement)))
    )
    # Who signed in each seat is recovered, and the committee is hashed anew: only its own keepers in its own order, of
    # whom exactly q signed, give its hash. The compact form has no room for a high s.
    keepers: DynArray[address, 16] = []
    quorum: uint256 = 0
    for seat: uint256[2] in seats:
        if seat[1] == 0:
            keepers.append(convert(seat[0], address))
        else:
            signer: address = ecrecover(digest, unsafe_add(27, seat[1] >> 255), seat[0], seat[1] & M255)
            assert signer != empty(address), "no signature"
            keepers.append(signer)
            quorum = unsafe_add(quorum, 1)
    assert quorum != 0, "not the quorum"
    assert keccak256(abi_encode(quorum, keepers)) == committee, "not the keepers' signatures"
    now: uint256 = (times & ~M40) | block.timestamp
    self.words[key] = (convert(keccak256(abi_encode(now, final, order)), uint256) & HIGH) | rest
    if rest != amount:
        self.deposits[payer] += unsafe_sub(amount, rest)
    log Settled(payer=payer, lane=convert(lane, uint256), times=now, root=final, statement=statement)


@external
@nonreentrant
def reclaim(lane: uint96, prev: uint256[3]):
    """
    @notice Return to the caller's deposit what nobody claimed within 180 days. The lane keeps its hash.
    @param prev times, root and order of the lane's job as last written
    """
    key: uint256 = self._key(msg.sender, lane)
    word: uint256 = self.words[key]
    rest: uint256 = word & M64
    assert word != 0 and word & HIGH == self._word(prev[0], prev[1], convert(prev[2], bytes32)), "no such job"
    assert rest != 0, "nothing left"
    assert block.timestamp > (prev[0] & M40) + CLAIM_TIME, "claims still run"
    self.words[key] = word & HIGH
    self.deposits[msg.sender] += rest
    log Reclaimed(payer=msg.sender, lane=convert(lane, uint256), amount=rest)


# -- claims ------------------------------------------------------------------------------------------------------------


@internal
@pure
def _is_in_tree(claim: Claim) -> bool:
    """
    @notice Whether the claim's leaf stands at its position below its root, every sum within 64 bits.
    """
    node: uint256 = (
        convert(keccak256(abi_encode(claim.consent, claim.payee, claim.amount)), uint256) & HIGH
    ) | claim.amount
    position: uint256 = claim.position
    for sibling: uint256 in claim.proof:
        total: uint256 = (node & M64) + (sibling & M64)
        if total > M64:
            return False
        if position & 1 == 1:
            node = (convert(keccak256(abi_encode(sibling, node)), uint256) & HIGH) | total
        else:
            node = (convert(keccak256(abi_encode(node, sibling)), uint256) & HIGH) | total
        position >>= 1
    return position == 1 and node == claim.root


@internal
def _pay(payee: address, amount: uint256) -> bool:
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        TOKEN,
        abi_encode(payee, amount, method_id=method_id("transfer(address,uint256)")),
        max_outsize=32,
        revert_on_failure=False,
    )
    # Some tokens answer nothing when they succeed; the constructor saw that there is code.
    return success and (len(answer) == 0 or (len(answer) == 32 and convert(answer, uint256) == 1))


@internal
def _claim(claim: Claim) -> uint8:
    key: uint256 = (convert(claim.payer, uint256) << 96) | convert(claim.lane, uint256)
    word: uint256 = self.words[key]
    if word == 0 or word & HIGH != self._word(claim.times, claim.root, claim.order):
        return NO_SUCH_JOB
    if block.timestamp < claim.times & M40:
        return NOT_YET
    if claim.amount == 0:
        return NOTHING
    if claim.amount > M64 or not self._is_in_tree(claim):
        return BAD_PROOF
    opened: uint256 = claim.times >> 40
    slot: uint256 = claim.position // BITS
    former: uint256 = self.spent[key][slot]
    bits: uint256 = former
    if bits >> BITS != opened:
        bits = opened << BITS
    bit: uint256 = 1 << (claim.position % BITS)
    if bits & bit != 0 or claim.amount > word & M64:
        return SPENT
    # Written before the token runs and taken back if it fails, so that nothing it calls sees a claim unpaid.
    self.spent[key][slot] = bits | bit
    self.words[key] = word - claim.amount
    if claim.payee == self or not self._pay(claim.payee, claim.amount * UNIT):
        # A token that fails and yet called back to change this very lane would have its change undone here.
        assert self.words[key] == word - claim.amount, "the token interferes"
        self.spent[key][slot] = former
        self.words[key] = word
        return TRANSFER_FAILED
    log Paid(
        payee=claim.payee,
        payer=claim.payer,
        lane=convert(claim.lane, uint256),
        consent=claim.consent,
        amount=claim.amount,
    )
    return PAID


@external
@nonreentrant
def claim_many(claims: DynArray[Claim, 16]):
    """
    @notice Pay leaves to those they name. Anyone may send them; one that cannot be paid is skipped and reported.
    """
    for i: uint256 in range(len(claims), bound=16):
        reason: uint8 = self._claim(claims[i])
        if reason != PAID:
            log ClaimSkipped(index=i, reason=reason)


@external
@view
def eip712Domain() -> (bytes1, String[12], String[1], uint256, address, bytes32, DynArray[uint256, 1]):
    """
    @notice ERC-5267.
    """
    return 0x0f, "Allod Escrow", "1", chain.id, self, empty(bytes32), []
