"""Where the keepers of a home answer while each of them is a process of its own.

`allod up` writes the note when it starts them and removes it when they have stopped. While it is there, every other
process of the home reaches its keepers over HTTP and none opens their folders. The note of an `allod up` that was
killed counts for nothing: whoever runs one holds the lock beside it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from core.errors import Corrupted
from core.files import Lock, is_locked, write_atomic

_LOOKED_AT = 2.0  # seconds for which a look at the lock may be in its way


def up_lock(home: Path) -> Lock:
    """What an `allod up` of this home holds as long as it runs."""
    return Lock(_lock(home), what="This home's `allod up`", patience=_LOOKED_AT)


def _lock(home: Path) -> Path:
    return home / "up.lock"


def _note(home: Path) -> Path:
    return home / "keepers" / "services.json"


def keeper_services(home: Path) -> dict[int, str]:
    """The URL of each keeper by its index; empty where the keepers are no processes of their own."""
    path = _note(home)
    if not is_locked(_lock(home)):
        return {}
    try:
        found = json.loads(path.read_bytes())
        return {int(index): str(url) for index, url in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        raise Corrupted(
            f"{path} does not say where the keepers answer.",
            hint="Stop `allod up` and start it again.",
        ) from None


def tell_services(home: Path, urls: Mapping[int, str]) -> None:
    """Say where the keepers answer from now on."""
    write_atomic(_note(home), json.dumps({str(index): url for index, url in urls.items()}).encode())


def forget_services(home: Path) -> None:
    """Say that they are no processes of their own any more."""
    with contextlib.suppress(FileNotFoundError):
        _note(home).unlink()
