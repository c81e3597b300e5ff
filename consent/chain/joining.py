"""Which chain a home uses: the endpoint that it names, else the embedded one, here or in the process that serves it."""

from __future__ import annotations

import json
from pathlib import Path

from consent.chain.client import DEVELOPMENT_CHAIN_ID, Chain
from core.encoding import from_hex
from core.errors import AllodError, Busy


def open_chain(home: Path, rpc_url: str | None = None, *, chain_id: int | None = None, patience: float = 0.0) -> Chain:
    """The chain of a home directory: `rpc_url` if given, else its embedded chain, here or in the process that has it.

    An endpoint (or one of several) that serves another chain than `chain_id` is `Refused`, here and now. A chain held
    by a process that does not serve it is `Busy`, which names that process.
    """
    if rpc_url is not None:
        with Chain.http(rpc_url, chain_id=chain_id) as first:  # a wrong address is told at once, not waited for
            found = first.check_chain_id()
        return Chain.http(rpc_url, chain_id=found, patience=patience)
    from consent.chain.embedded import EmbeddedChain

    try:
        return Chain.embedded(EmbeddedChain(home / "chain"), owned=True)
    except Busy:
        served = _served(home / "chain" / "endpoint.json")
        if served is None:
            raise
        return served


def _served(note: Path) -> Chain | None:
    """The chain behind an endpoint note, if something there answers as a development chain."""
    try:
        about = json.loads(note.read_bytes())
        genesis = from_hex(about["genesis"], 32)
        chain = Chain.http(str(about["url"]), chain_id=DEVELOPMENT_CHAIN_ID)
    except (OSError, ValueError, KeyError, TypeError, AllodError):
        return None
    try:
        chain.check_chain_id()
        if chain.block(0).hash == genesis:  # else the note is old and another world has taken the port
            return chain
    except AllodError:
        pass
    chain.close()
    return None
