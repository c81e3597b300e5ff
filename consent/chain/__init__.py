"""The EVM as Allod sees it: an account, a client, and the development chain kept on disk.

`client.Chain` is the only way the rest of Allod talks to a chain. Its modules are imported by name, because some of
them (`embedded`) bring a whole EVM with them.
"""
