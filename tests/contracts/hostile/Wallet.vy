# pragma version 0.4.3
# A contract wallet: it accepts what its key signed (ERC-1271), or misbehaves when asked; it sends whatever calls it is
# told to, two in one transaction.
key: public(address)
mood: public(uint256)  # 0 honest, 1 reverts, 2 burns all gas, 3 answers with a long string, 4 answers 1

@deploy
def __init__(key: address):
    self.key = key

@external
def feel(mood: uint256):
    self.mood = mood

@external
@view
@raw_return
def isValidSignature(digest: bytes32, signature: Bytes[1024]) -> Bytes[4096]:
    assert self.mood != 1
    if self.mood == 2:
        spin: uint256 = 0
        for i: uint256 in range(1000000000):
            spin = i
    if self.mood == 3:
        return abi_encode(0x1626ba7e, empty(bytes32[100]))
    if self.mood == 4:
        return abi_encode(convert(1, uint256))
    good: bool = len(signature) == 65
    if good:
        good = self.key == ecrecover(
            digest,
            convert(slice(signature, 64, 1), uint256),
            extract32(signature, 0, output_type=uint256),
            extract32(signature, 32, output_type=uint256),
        )
    return abi_encode(0x1626ba7e if good else 0xffffffff)

@external
def act(target: address, payload: Bytes[4096]):
    raw_call(target, payload)

@external
def act_twice(target: address, first: Bytes[4096], second: Bytes[4096]):
    raw_call(target, first)
    raw_call(target, second)
