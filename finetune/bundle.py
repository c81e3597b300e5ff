"""Reading a bundle that anyone may have made: every file by a fixed name, whole, plain and of a bounded size.

Nothing here follows a link, opens what is not a regular file, reads more than a document may have, or writes. Names
that stand in documents are only ever compared, never opened. What is absent, too large or malformed is an
`AllodError` that names the file. Exact contents: docs/format/72-provenance.md.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from consent.committee import Committee
from consent.fields import constant, exact_list, exact_map
from consent.keeper.receipt import Receipt
from consent.order import Order
from consent.recipe import Recipe
from consent.tree import MAX_LEAVES, SumTree
from core.encoding import decode_cbor
from core.errors import AllodError, Corrupted, InvalidInput, NotFound
from core.ids import ConsentId
from finetune.envelope import Envelope
from finetune.ledger import Tally, read_ledger
from finetune.licence import Licence
from finetune.plan import Plan, decode_plan
from finetune.provenance import ADAPTER, EVIDENCE, STATEMENT, read_statement

# Bytes. Decoding takes up to some seventy times as much memory where a document is made to waste it.
SMALL, LARGE = 1 << 20, 32 << 20
LIMITS = {
    "order.cbor": SMALL,
    "recipe.json": SMALL,
    "committee.json": SMALL,
    "tree.cbor": 8 << 20,
    "final.cbor": 8 << 20,
    "receipts.cbor": LARGE,
    "plan.cbor": LARGE,
    "plan.sig": 65,
    "ledger": 8 * LARGE,
    "licences": 4 << 20,
}
MAX_ADAPTER_FILE = 64 << 30
_MAX_KEEPERS = 16
_CHUNK = 1 << 20
_LICENCES_HELD = 64  # decoded at a time; a job may have a hundred thousand

Value = TypeVar("Value")


class Bundle:
    """A folder with an adapter and its provenance. Each document is read and decoded when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Any] = {}
        self._licences: OrderedDict[ConsentId, Licence] = OrderedDict()

    # -- files --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _open(self, name: str, limit: int) -> Iterator[BinaryIO]:
        """The regular file `name` (parts joined by /), reached through no link below the bundle's folder."""
        *folders, last = name.split("/")
        held: list[int] = []
        try:
            held.append(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            for part in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                held.append(os.open(part, flags, dir_fd=held[-1]))
            # Not blocking: a pipe put in a file's place would wait for a writer for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            held.append(os.open(last, flags, dir_fd=held[-1]))
            found = os.fstat(held[-1])
            if not stat.S_ISREG(found.st_mode):
                raise Corrupted(f"{name} in the bundle is not a plain file.")
            if found.st_size > limit:
                raise InvalidInput(f"{name} in the bundle has {found.st_size} bytes; at most {limit} are read.")
            with os.fdopen(held.pop(), "rb") as file:
                yield file
        except FileNotFoundError:
            raise NotFound(f"The bundle lacks {name}.", hint="Ask whoever made it for the whole bundle.") from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise Corrupted(f"{name} in the bundle cannot be read as a plain file: {reason}.") from None
        finally:
            for descriptor in held:
                os.close(descriptor)

    def read(self, name: str, limit: int) -> bytes:
        """The whole file `name` of at most `limit` bytes."""
        with self._open(name, limit) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise InvalidInput(f"{name} in the bundle has more than {limit} bytes.")
        return data

    def has(self, name: str) -> bool:
        """Whether anything lies at `name`, be it what it should or not."""
        return os.path.lexists(self.folder / name)

    def adapter_names(self) -> Iterator[str]:
        """What lies in `adapter/`; a link or a folder there is `Corrupted`."""
        folder = self.folder / ADAPTER
        if folder.is_symlink() or not folder.is_dir():
            raise NotFound(f"The bundle lacks {ADAPTER}/.", hint="Ask whoever made it for the whole bundle.")
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.is_file(follow_symlinks=False):
                    raise Corrupted(f"{ADAPTER}/ holds something that is not a plain file: {entry.name}.")
                yield entry.name

    def licence_names(self) -> list[str]:
        """What lies in the folder of licences; none where there is no such folder."""
        folder = self.folder / EVIDENCE / "licences"
        if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder))

    def size(self, name: str, limit: int) -> int:
        """The bytes of a plain file."""
        with self._open(name, limit) as file:
            return os.fstat(file.fileno()).st_size

    def chunks(self, name: str, limit: int, at_once: int) -> Iterator[bytes]:
        """A plain file, piece by piece."""
        with self._open(name, limit) as file:
            while chunk := file.read(at_once):
                yield chunk

    def adapter_digest(self, name: str) -> bytes:
        """SHA-256 of one file of the adapter, in bounded memory."""
        digest = hashlib.sha256()
        for chunk in self.chunks(f"{ADAPTER}/{name}", MAX_ADAPTER_FILE, _CHUNK):
            digest.update(chunk)
        return digest.digest()

    # -- documents ----------------------------------------------------------------------------------------------------

    def _once(self, key: str, make: Callable[[], Value]) -> Value:
        """`make()`, remembered; a failure too, so that a huge broken document is read once and not once a sentence."""
        if key not in self._known:
            try:
                self._known[key] = make()
            except AllodError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, AllodError):
            raise found
        return found  # type: ignore[no-any-return]

    def _evidence(self, name: str, decode: Callable[[bytes], Value]) -> Value:
        return self._once(name, lambda: decode(self.read(f"{EVIDENCE}/{name}", LIMITS[name])))

    @property
    def order(self) -> Order:
        """The job as it was ordered; it was opened."""
        order = self._evidence("order.cbor", Order.decode)
        if not order.opened:
            raise InvalidInput("The order in the bundle is of a job that was never opened.")
        return order

    @property
    def recipe(self) -> Recipe:
        """What was trained and how."""
        return self._evidence("recipe.json", Recipe.decode)

    @property
    def committee(self) -> Committee:
        """The keepers' document."""
        return self._evidence("committee.json", Committee.decode)

    @property
    def opening(self) -> SumTree:
        """The tree that the job was opened with."""
        return self._evidence("tree.cbor", SumTree.decode)

    @property
    def final(self) -> SumTree:
        """The tree that the bundle shows as paid: the opening tree where it has no other."""
        has = self.has(f"{EVIDENCE}/final.cbor")
        return self._evidence("final.cbor", SumTree.decode) if has else self.opening

    @property
    def receipts(self) -> list[Receipt]:
        """The keepers' receipts; none where no keeper was asked."""
        has = self.has(f"{EVIDENCE}/receipts.cbor")
        return self._evidence("receipts.cbor", _read_receipts) if has else []

    @property
    def has_plan(self) -> bool:
        """Whether the bundle says what was trained on."""
        return self.has(f"{EVIDENCE}/plan.cbor")

    @property
    def plan(self) -> Plan:
        """The order of the records."""
        return self._evidence("plan.cbor", decode_plan)

    @property
    def plan_signature(self) -> bytes:
        """The runner's signature over the plan."""
        return self._evidence("plan.sig", bytes)

    @property
    def ledger(self) -> bytes:
        """The ledger as it lies there."""
        return self._evidence("ledger", bytes)

    @property
    def tally(self) -> Tally:
        """What the replayed ledger counts."""
        return self._once("tally", lambda: read_ledger(self.ledger, self.order.job_id))

    def licence(self, consent: ConsentId) -> Licence:
        """What one consent licensed."""
        if consent in self._licences:
            self._licences.move_to_end(consent)
        else:
            name = f"{EVIDENCE}/licences/{consent.hex()}.cbor"
            self._licences[consent] = Licence.decode(self.read(name, LIMITS["licences"]))
            while len(self._licences) > _LICENCES_HELD:
                self._licences.popitem(last=False)
        return self._licences[consent]

    @property
    def provenance(self) -> bytes:
        """provenance.json as it lies there."""
        return self._once(STATEMENT, lambda: self.read(STATEMENT, LARGE))

    @property
    def statement(self) -> tuple[Envelope, dict[str, Any]]:
        """The envelope and the statement in it."""
        return self._once("statement", lambda: read_statement(self.provenance))


def _read_receipts(data: bytes) -> list[Receipt]:
    fields = exact_map(decode_cbor(data, limit=LIMITS["receipts.cbor"]), ("v", "receipts"), "The list of receipts")
    constant(fields["v"], 1, "The version of the list of receipts")
    rows = exact_list(fields["receipts"], "The receipts", at_most=_MAX_KEEPERS * MAX_LEAVES)
    return [Receipt.read(row) for row in rows]
