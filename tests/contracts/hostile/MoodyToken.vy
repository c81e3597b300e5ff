# pragma version 0.4.3
# An ERC-20 that does what its mood says: 0 works and answers true; 1 moves nothing and answers false; 2 reverts; 3 works
# and answers nothing; 4 answers with 2; 5 burns all gas; 6 works for all but one blocked receiver, where it reverts;
# 7 moves nothing and answers true in transferFrom.
decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
mood: public(uint256)
blocked: public(address)

@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount

@external
def feel(mood: uint256, blocked: address):
    self.mood = mood
    self.blocked = blocked

@internal
def _move(sender: address, to: address, amount: uint256):
    assert self.mood != 2
    assert self.mood != 6 or to != self.blocked
    if self.mood == 5:
        for i: uint256 in range(1000000000):
            self.balanceOf[self] = i
    if self.mood != 1 and self.mood != 7:
        self.balanceOf[sender] -= amount
        self.balanceOf[to] += amount

@internal
@view
def _answer() -> Bytes[64]:
    if self.mood == 3:
        return b""
    if self.mood == 4:
        return abi_encode(convert(2, uint256))
    return abi_encode(self.mood != 1)

@external
@raw_return
def transfer(to: address, amount: uint256) -> Bytes[64]:
    self._move(msg.sender, to, amount)
    return self._answer()

@external
@raw_return
def transferFrom(sender: address, to: address, amount: uint256) -> Bytes[64]:
    self._move(sender, to, amount)
    return self._answer()
