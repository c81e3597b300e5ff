"""Keepers: n independent nodes, any t of which release an object's key to a funded, consented job.

`node.Keeper` takes and gives bytes only; `client` is what runners, payers and owners use to talk to a committee.
The modules are imported by name.
"""
