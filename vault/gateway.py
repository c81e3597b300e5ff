"""Where a kubo node's gateway is, by the addresses that its configuration names."""

from __future__ import annotations

import re

_HOST = re.compile(r"(?P<host>/(ip4|ip6|dns|dns4|dns6)/(?P<name>[^/]+))/tcp/")
_TCP = re.compile(r"(?P<host>/(ip4|ip6|dns|dns4|dns6)/[^/]+)/tcp/(?P<port>\d{1,5})(/http)?")


def gateway_url(value: object, address: str) -> str | None:
    """The gateway's URL by the node's configuration, where it is on the host that we know the node by."""
    host = _HOST.match(address)
    for text in value if isinstance(value, list) else [value]:
        found = _TCP.fullmatch(text) if isinstance(text, str) else None
        if found and host and found["port"] != "0" and found["host"] in (host["host"], "/ip4/0.0.0.0", "/ip6/::"):
            name = host["name"]
            return f"http://[{name}]:{found['port']}" if ":" in name else f"http://{name}:{found['port']}"
    return None
