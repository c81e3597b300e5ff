"""The folder of one job: everything needed to resume it, settle it or prove it after a crash at any point.

It holds public or pseudonymous documents, receipts, the ledger and the adapter; shares and checkpoints only sealed to
the job's own key, which lies sealed elsewhere (`jobkey`) and ends with the job; never a record, a data key or anything
made from them but counts. `state.json` changes
atomically and only along `NEXT`; one process at a time holds the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from core.encoding import decode_cbor, decode_json, encode_cbor, encode_json
from core.errors import Conflict, Corrupted, InvalidInput, NotFound
from core.files import Lock, shred, write_atomic
from core.ids import ConsentId


class State(StrEnum):
    """How far a job has come."""

    QUOTED = "quoted"  # all documents are here, no money has moved
    OPENING = "opening"  # the opening transaction is stored and may have been sent
    OPEN = "open"  # the money is locked
    RELEASING = "releasing"  # keepers are asked for shares
    TRAINING = "training"  # steps are taken
    CONFIRMING = "confirming"  # the adapter is here; the whole opening tree is to be paid
    SETTLING = "settling"  # a smaller final tree is fixed; the keepers' statement is to be posted
    DONE = "done"  # the claims have started, or the opening tree stands


NEXT: dict[State, frozenset[State]] = {
    State.QUOTED: frozenset({State.OPENING}),
    State.OPENING: frozenset({State.OPEN, State.QUOTED}),
    State.OPEN: frozenset({State.RELEASING, State.SETTLING, State.DONE}),
    State.RELEASING: frozenset({State.RELEASING, State.TRAINING, State.SETTLING, State.DONE}),
    State.TRAINING: frozenset({State.RELEASING, State.CONFIRMING, State.SETTLING, State.DONE}),
    State.CONFIRMING: frozenset({State.DONE}),
    State.SETTLING: frozenset({State.DONE}),
    State.DONE: frozenset(),
}

SHARES = "shares.cbor"
DOCUMENTS = frozenset(
    {
        "recipe.json",  # what is trained and how
        "committee.json",  # the keepers, signed by each
        "tree.cbor",  # the opening tree
        "final.cbor",  # the tree that the keepers agreed to, where a leaf fell
        "draft.cbor",  # what a payer who signs elsewhere is to sign
        "opening.cbor",  # what `open` was or will be called with, and the raw transaction
        "order.cbor",  # the job as the chain has it
        "receipts.cbor",  # the keepers' receipts
        SHARES,  # what keepers released, sealed to the job's key: closed for good once that is destroyed
        "refusals.json",  # who was not opened, and each keeper's reason
        "reading.json",  # per consent: records, tokens, and places that could not be read
        "plan.cbor",
        "plan.sig",
        "statement.json",  # the hash to be posted, and who proposes it
        "transactions.json",
        "losses.json",
        "cancel.json",  # the payer wants no more of it, and what it agreed to
    }
)
_FOLDERS = frozenset({"licences", "adapter"})


class Workspace:
    """One job's folder."""

    def __init__(self, folder: Path) -> None:
        """Open the folder of an existing job; `NotFound` if there is none."""
        if not (folder / "state.json").exists():
            raise NotFound(f"There is no job in {folder.name}.", hint="`allod job list` lists the jobs.")
        self.folder = folder
        self._lock = Lock(folder / "LOCK", what=f"Job {folder.name}")

    @classmethod
    def create(cls, folder: Path, documents: dict[str, bytes], **facts: Any) -> Workspace:
        """Begin a job's folder with the documents of its quote; half a folder never counts as a job."""
        if (folder / "state.json").exists():
            raise Conflict(f"{folder.name} holds a job already.", hint="Choose another folder.")
        for name, data in documents.items():
            write_atomic(_place(folder, name), data)
        write_atomic(folder / "state.json", encode_json({"v": 1, "state": State.QUOTED, "facts": facts}))
        return cls(folder)

    def hold(self) -> Lock:
        """The lock of whoever works on this job; `Busy` names the process that does."""
        return self._lock

    @property
    def state(self) -> State:
        """The present state."""
        return self._read()[0]

    @property
    def facts(self) -> dict[str, Any]:
        """What was noted along the way: hex strings, numbers and short words."""
        return self._read()[1]

    def advance(self, to: State, **facts: Any) -> None:
        """Go on to `to`, adding to the facts; `Conflict` where no way leads there."""
        state, known = self._read()
        if to not in NEXT[state]:
            raise Conflict(f"A job that is {state} cannot become {to}.", hint="`allod job show` tells how it stands.")
        self._write(to, {**known, **facts})

    def note(self, **facts: Any) -> None:
        """Add to the facts without leaving the state."""
        state, known = self._read()
        self._write(state, {**known, **facts})

    def put(self, name: str, data: bytes) -> None:
        """Store a document durably, all of it or nothing."""
        write_atomic(_place(self.folder, name), data)

    def get(self, name: str) -> bytes:
        """A stored document; `NotFound` if it is not there yet."""
        try:
            return _place(self.folder, name).read_bytes()
        except FileNotFoundError:
            raise NotFound(
                f"The job's {name} is not there yet.", hint="`allod job show` tells how far the job has come."
            ) from None

    def has(self, name: str) -> bool:
        """Whether a document is there."""
        return _place(self.folder, name).exists()

    def put_value(self, name: str, value: Any) -> None:
        """Store a value as canonical JSON or dag-cbor, by the name's ending."""
        self.put(name, encode_json(value) if name.endswith(".json") else encode_cbor(value))

    def shred(self, name: str) -> None:
        """Overwrite and remove a document, durably; one that is not there is no error."""
        shred(_place(self.folder, name))

    def get_value(self, name: str) -> Any:
        """The value that `put_value` stored."""
        data = self.get(name)
        return decode_json(data, limit=64 << 20) if name.endswith(".json") else decode_cbor(data, limit=256 << 20)

    def names(self, folder: str) -> list[str]:
        """The files of a sub-folder, as `folder/name`, sorted."""
        place = self.folder / folder
        return sorted(f"{folder}/{path.name}" for path in place.iterdir()) if place.is_dir() else []

    def put_adapter(self, files: dict[str, bytes]) -> None:
        """Replace the adapter's files; a crash in between leaves the state before `confirming` or `settling`."""
        shutil.rmtree(self.folder / "adapter", ignore_errors=True)
        for name, data in files.items():
            self.put(f"adapter/{name}", data)

    def adapter(self) -> dict[str, bytes]:
        """The adapter's files by name; empty if there is none yet."""
        return {name.partition("/")[2]: self.get(name) for name in self.names("adapter")}

    @property
    def ledger(self) -> Path:
        """Where the ledger lies."""
        return self.folder / "ledger"

    def _read(self) -> tuple[State, dict[str, Any]]:
        value = decode_json((self.folder / "state.json").read_bytes())
        try:
            return State(value["state"]), dict(value["facts"])
        except (KeyError, TypeError, ValueError):
            raise Corrupted(f"The state of job {self.folder.name} is damaged.") from None

    def _write(self, state: State, facts: dict[str, Any]) -> None:
        write_atomic(self.folder / "state.json", encode_json({"v": 1, "state": state, "facts": facts}))


def needs_training(job: Workspace) -> bool:
    """Whether the job has steps before it; else it only waits for its end, or is over."""
    ended = job.state in (State.CONFIRMING, State.SETTLING, State.DONE)
    return not ended and not job.facts.get("trained")


def licence_name(consent: ConsentId) -> str:
    """The document that holds what one consent licenses."""
    return f"licences/{consent.hex()}.cbor"


def workspaces(root: Path) -> Iterable[Workspace]:
    """The jobs below `root`, by name."""
    if root.is_dir():
        for folder in sorted(root.iterdir()):
            if (folder / "state.json").exists():
                yield Workspace(folder)


def _place(folder: Path, name: str) -> Path:
    head, slash, tail = name.partition("/")
    inner = bool(slash) and head in _FOLDERS and tail not in ("", ".", "..") and "/" not in tail and "\\" not in tail
    if not inner and name not in DOCUMENTS:
        raise InvalidInput("A job's folder holds no document of that name.")
    return folder / name
