"""Which block store a home uses: the embedded one in its folder, or a kubo node where ALLOD_KUBO names one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from core.errors import InvalidInput
from core.settings import Settings
from vault.blocks import BlockStore

if TYPE_CHECKING:
    from vault.kubostore import KuboStore

TURN = 20.0  # seconds that a command waits while another program of this home writes, such as the server


def open_blocks(settings: Settings, *, read_only: bool = False) -> BlockStore:
    """The store of these settings. With `read_only` an embedded one is neither made nor repaired."""
    if settings.kubo is not None:
        return open_kubo(settings)
    from vault.carstore import CarStore

    return CarStore(settings.blocks_folder, read_only=read_only, patience=TURN)


def open_kubo(settings: Settings, *, patience: float | None = None) -> KuboStore:
    """The store on the node that ALLOD_KUBO names; it is asked for something at the first use only."""
    from vault.ipfs import TIMEOUT
    from vault.kubostore import KuboStore

    if settings.kubo is None:
        raise InvalidInput("No kubo node is named.", hint="Set ALLOD_KUBO, such as /ip4/127.0.0.1/tcp/5001")
    # One lock for all homes of this user that write to the node.
    name = hashlib.sha256(settings.kubo.encode()).hexdigest()[:16]
    return KuboStore(
        settings.kubo,
        lock=settings.cache / f"kubo-{name}.lock",
        authorization=_authorization(settings),
        patience=settings.patience if patience is None else patience,
        timeout=TIMEOUT if patience is None else patience,
        turn=TURN,
    )


def _authorization(settings: Settings) -> str | None:
    path = settings.kubo_authorization
    if path is None:
        return None
    try:
        return path.read_text("utf-8").split("\n", 1)[0].strip()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The file of ALLOD_KUBO_AUTHORIZATION cannot be read: {type(error).__name__}.",
            hint="Its first line is what kubo's API.Authorizations asks for, such as: Bearer WORD",
        ) from None
