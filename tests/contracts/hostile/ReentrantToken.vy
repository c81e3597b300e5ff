# pragma version 0.4.3
# An ERC-20 that, once armed, calls back into the escrow from inside a transfer, and afterwards behaves or fails.
decimals: public(constant(uint8)) = 6
balanceOf: public(HashMap[address, uint256])
target: address
payload: Bytes[4096]
answer: bool
tried: public(bool)
succeeded: public(bool)

@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount

@external
def arm(target: address, payload: Bytes[4096], answer: bool):
    self.target = target
    self.payload = payload
    self.answer = answer

@internal
def _strike() -> bool:
    if len(self.payload) == 0:
        return True
    payload: Bytes[4096] = self.payload
    self.payload = b""
    self.tried = True
    self.succeeded = raw_call(self.target, payload, revert_on_failure=False)
    return self.answer

@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    return self._strike()

@external
def transfer(to: address, amount: uint256) -> bool:
    if not self._strike():
        return False
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount
    return True

# As a payer of its own, so that its calls back come from one.
@external
def act(target: address, payload: Bytes[4096]):
    raw_call(target, payload)
