"""What runs beside a worker's queue: the desk, which takes orders, and the mirror, which copies jobs for the server.

Each has a thread, so that a quote that takes long holds up no event. Of all workers of a home one does each: it holds a
lock that the kernel frees when it dies, and whoever looks next goes on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy.exc import OperationalError

from allod import schema
from allod.desk import Desk
from allod.mirror import Mirror
from allod.world import OpenWorld, World
from core.database import open_engine
from core.errors import AllodError, Busy
from core.files import Lock
from core.settings import Settings

LOOK = 0.5  # seconds between two looks
GRACE = 10.0  # seconds that what is under way may take at the end; all of it may be killed anywhere
_log = logging.getLogger("allod.beside")


class Tended(Protocol):
    """Something that wants to be looked after again and again."""

    def tend(self) -> bool:
        """Do what there is to do; whether there was anything."""
        ...


class Beside:
    """Desk and mirror of one home, each in a thread, from its making until it is closed."""

    def __init__(self, settings: Settings, *, open_world: OpenWorld = World, look: float = LOOK) -> None:
        self._settings, self._look = settings, look
        self._stop = threading.Event()
        settings.home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            engine = open_engine(settings.database)
            stack.callback(engine.dispose)
            schema.upgrade(engine)
            self._make: dict[str, Callable[[], Tended]] = {
                "desk": partial(Desk, settings, engine, open_world),
                "mirror": partial(Mirror, settings, engine, open_world),
            }
            self._closing = stack.pop_all()
        self._looked = {name: threading.Event() for name in self._make}
        self._threads = [self._thread(name) for name in self._make]
        for thread in self._threads:
            thread.start()

    def await_look(self) -> None:
        """Wait until both have looked once, or another worker of this home does it: no older order waits then."""
        for looked in self._looked.values():
            looked.wait()

    def close(self) -> None:
        """End both soon; what the mirror has not copied yet is copied."""
        self._stop.set()
        for thread in self._threads:
            thread.join(GRACE)
        with suppress(Busy, AllodError, OSError, OperationalError), self._lock("mirror"):
            self._make["mirror"]().tend()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self, name: str) -> Lock:
        return Lock(self._settings.home / "workers" / f"{name}.lock", what=f"The {name} of this home")

    def _thread(self, name: str) -> threading.Thread:
        return threading.Thread(target=self._go, args=(name,), name=f"allod-{name}", daemon=True)

    def _go(self, name: str) -> None:
        """Take the lock when it is free, and look until it is over; what fails is tried again."""
        while not self._stop.is_set():
            try:
                with self._lock(name):
                    tended = self._make[name]()
                    while not self._stop.is_set():
                        tended.tend()
                        self._looked[name].set()
                        self._stop.wait(self._look)
            except Busy:
                pass  # another worker of this home does it
            except (AllodError, OSError, OperationalError) as error:
                _log.warning("the %s waits: %s", name, type(error).__name__)
            except Exception as error:
                _log.error("the %s failed: %s", name, type(error).__name__)
            self._looked[name].set()
            self._stop.wait(self._look)
