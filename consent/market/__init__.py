"""What owners and trainers do: publish, consent, pay, earn, over the chain client and a relayer.

Every call of an owner goes as a signature through a `Relayer`, which pays the gas: an owner's native balance stays 0.
Modules: `place` (the contracts of one world), `publish`, `granting`, `liveness`, `revoking`, `lanes`, `paying`,
`earnings`.
"""
